"""The internal door: /v1 for partner services and operators."""
