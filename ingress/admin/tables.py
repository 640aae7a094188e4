"""What ingress keeps: who claimed which sign-in. Queries stand in store.py alone."""

from typing import Final

from sqlalchemy import Column, Double, Table, Text

from workers.runtime.database import metadata

attempt_claims: Final = Table(
    "ingress_attempt_claims",
    metadata,
    Column("attempt", Text, primary_key=True),
    Column("partner_user", Text, nullable=False),
    Column("claimed_at", Double, nullable=False, index=True),  # by which old ones are dropped
)
