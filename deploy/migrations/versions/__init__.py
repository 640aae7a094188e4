"""One file per change of the tables, oldest first; written by `python -m deploy.migrations`, read before it is committed."""
