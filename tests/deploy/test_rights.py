"""The rights as they are declared: of every table it is said who may do what, and what is sealed is the linker's alone."""

from sqlalchemy import LargeBinary

from deploy import settings
from deploy.migrations.tables import metadata
from deploy.rights import RIGHTS, VERSION, Right

SEALED = {
    (table.name, column.name)
    for table in metadata.tables.values()
    if table.name.startswith("linker_")
    for column in table.columns
    if isinstance(column.type, LargeBinary)
}


def columns_of(table: str) -> list[str]:
    return ["version_num"] if table == VERSION else metadata.tables[table].columns.keys()


def test_every_table_has_its_lines_among_the_rights() -> None:
    named = {right.table for mine in RIGHTS.values() for right in mine}
    assert named == {*metadata.tables, VERSION}, "deploy/rights.py must say of each table which role may do what with it"
    assert set(RIGHTS) == set(settings.PARTS) - {"up"}


def test_what_is_sealed_is_for_the_linker_alone() -> None:
    assert {("linker_grants", name) for name in ("code", "access", "refresh")} | {("linker_attempts", "secret")} < SEALED
    for role in set(RIGHTS) - {"linker"}:
        for right in RIGHTS[role]:
            shown = right.columns or columns_of(right.table)
            assert not SEALED & {(right.table, column) for column in shown}, f"{role}: {right}"


def test_a_right_is_told_as_sql_names_it() -> None:
    assert str(Right(("SELECT", "UPDATE"), "t", ("a", "b"))) == "SELECT, UPDATE (a, b) on t"
