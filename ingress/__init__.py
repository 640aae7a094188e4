"""The three doors: Ring's calls, users' browsers, operators and partner services."""
