"""Run a command as another user, and end it when the process that asked for it dies; run by path, imports nothing of ours.

Arguments: pid of the asker, signal number for the day it dies, user name ("" for our own), then the command.
The user comes first: changing it would clear the death signal again (prctl(2), PR_SET_PDEATHSIG).
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def main(asker: int, number: int, user: str, command: list[str]) -> None:
    """Become the command; returns never."""
    if user:
        become(pwd.getpwnam(user))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != asker:  # it died while we were starting
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  # a shell is what we do not want


def become(who: pwd.struct_passwd) -> None:
    """Give up root for an ordinary user and its groups."""
    os.initgroups(who.pw_name, who.pw_gid)
    os.setgid(who.pw_gid)
    os.setuid(who.pw_uid)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
