"""The ways by which a partner's user proves who they are."""
