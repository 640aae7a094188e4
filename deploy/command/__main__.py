"""`python -m deploy.command`: the same as `ringhook`."""

from deploy.command import main

main()
