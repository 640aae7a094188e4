"""The broker's jars: brought by Maven, believed only by hash (security.md rule 20)."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "deploy" / "kafka"
LIST = RECIPE / "jars.sha256"
JARS = ROOT / "build" / "kafka"
REMEDY = "`python -m deploy.local prepare` brings them"
RESTORE = "`git restore deploy/kafka/jars.sha256` brings back the list"
SHOWN = 10  # of what is wrong; more says no more
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>[^/\s]+\.jar)")


class Untrusted(RuntimeError):
    """The jars are not the ones of the list."""


class NoList(RuntimeError):
    """The list itself cannot be read, so no jar can be believed."""


def listed(text: str) -> dict[str, str]:
    """Return file name → SHA-256 from lines as sha256sum writes them; raises NoList, naming the line, for any other."""
    return dict(_listed(number, line) for number, line in enumerate(text.splitlines(), start=1))


def _text() -> str:
    try:
        return LIST.read_text(errors="replace")
    except OSError as error:
        raise NoList(f"{LIST.relative_to(ROOT)} cannot be read: {error.strerror}. {RESTORE}") from error


def _listed(number: int, line: str) -> tuple[str, str]:
    if (found := _LINE.fullmatch(line)) is None:
        raise NoList(
            f"line {number} of {LIST.relative_to(ROOT)} is not a jar's SHA-256 and name, as sha256sum writes them. {RESTORE}"
        )
    return found["name"], found["digest"]


def differences(wanted: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return in words what differs, nothing where all is as listed: one altered byte, a jar too many, one too few."""
    return (
        [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
        + [f"{name} is not on the list" for name in sorted(found.keys() - wanted.keys())]
        + [f"{name} was altered" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]]
    )


def hashed(folder: Path) -> dict[str, str]:
    """Return file name → SHA-256 of everything in a folder (empty where there is none)."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def verify(folder: Path = JARS) -> None:
    """Raise Untrusted, naming each, if a folder holds anything but the listed jars; NoList where there is no list."""
    if wrong := differences(listed(_text()), hashed(folder)):
        raise Untrusted(
            f"{folder} does not hold what {LIST.relative_to(ROOT)} lists ({REMEDY}):\n  " + "\n  ".join(wrong[:SHOWN])
        )


def bring(maven: Path, folder: Path = JARS) -> None:
    """Have Maven copy the jars beside the folder, verify them there, and only then put them in place."""
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    command = [str(maven), "--batch-mode", "--quiet", "dependency:copy-dependencies", f"-DoutputDirectory={fresh}"]
    done = subprocess.run(command, cwd=RECIPE, capture_output=True, text=True, check=False)  # noqa: S603  # our own command line
    if done.returncode:
        raise Untrusted(f"Maven could not bring the jars:\n{done.stdout}{done.stderr}")
    verify(fresh)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
