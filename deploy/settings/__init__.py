"""The configuration as each part needs it, read from named values and `ringhook.toml`; everything wrong is told together."""
