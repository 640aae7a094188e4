"""What the machine itself must have: Java, Maven, kcat and PostgreSQL's server programs; found, or installed where we may."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

JAVA = 17


class Missing(RuntimeError):
    """The machine lacks something, and we may not or cannot install it; the message says what to install."""


@dataclass(frozen=True)
class Need:
    """One thing the machine must have: how it is found, what to say, and Debian's packages for it, best first."""

    words: str
    find: Callable[[], Path | None]
    packages: Sequence[str]


def java() -> Path | None:
    """Return a `java` of at least version 17: of JAVA_HOME, else of the PATH."""
    home = os.environ.get("JAVA_HOME")
    places = [Path(home, "bin", "java") if home else None, _on_path("java"), *Path("/usr/lib/jvm").glob("*/bin/java")]
    return next((place for place in places if place is not None and version(_first_words(place)) >= JAVA), None)


def maven() -> Path | None:
    """Return `mvn` of the PATH."""
    return _on_path("mvn")


def kcat() -> Path | None:
    """Return `kcat` of the PATH: what the README shows of it is tried."""
    return _on_path("kcat") or _on_path("kafkacat")


def postgres() -> Path | None:
    """Return the folder of `initdb` and `postgres`: the newest of Debian's place, else where the PATH has them."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: -int(place.parent.name))
    for place in (*debian, *_folders("initdb"), Path("/usr/local/bin")):
        if (place / "initdb").is_file() and (place / "postgres").is_file():
            return place.resolve()
    return None


def version(words: str) -> int:
    """Return Java's major version from the first lines of `java -version`, 0 where there is none."""
    found = re.search(r'version "(?:1\.)?(\d+)', words)
    return int(found[1]) if found else 0


NEEDS = (
    Need("Java 17 or newer", java, ("openjdk-21-jre-headless", "openjdk-17-jre-headless", "default-jre-headless")),
    Need("Apache Maven", maven, ("maven",)),
    Need("kcat", kcat, ("kcat", "kafkacat")),
    Need("PostgreSQL's server (initdb, postgres)", postgres, ("postgresql",)),
)


def ensure(say: Callable[[str], None], needs: Sequence[Need] = NEEDS) -> None:
    """Return once the machine has everything; Missing, with what to install, where it has not and we cannot mend it."""
    if not (missing := [need for need in needs if need.find() is None]):
        return
    words = ", ".join(need.words for need in missing)
    if not (apt := _on_path("apt-get")) or os.geteuid() != 0:
        raise Missing(f"Not found on this machine: {words}. Please install it (Debian, Ubuntu: as root, {_by_hand(missing)}).")
    say(f"not found on this machine: {words}; installing by apt-get")
    _install(apt, missing, say)
    if still := [need.words for need in missing if need.find() is None]:
        raise Missing(f"Installed, and still not found: {', '.join(still)}. Please install it by hand.")


def _install(apt: Path, missing: Sequence[Need], say: Callable[[str], None]) -> None:
    _apt(apt, "update")
    chosen = [next((name for name in need.packages if _offered(name)), need.packages[-1]) for need in missing]
    say(f"apt-get install {' '.join(chosen)}")
    _apt(apt, "install", "--yes", "--no-install-recommends", *chosen)


def _apt(apt: Path, *arguments: str) -> None:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = [str(apt), "--quiet", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)  # noqa: S603  # our own command line
    if done.returncode:
        raise Missing(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")


def _offered(package: str) -> bool:
    """Say whether apt could install a package of that name (`show` is silent about those that are only mentioned)."""
    command = ["apt-cache", "show", "--quiet", package]
    return bool(subprocess.run(command, capture_output=True, check=False).stdout)  # noqa: S603  # our own command line


def _by_hand(missing: Sequence[Need]) -> str:
    return "apt-get install " + " ".join(need.packages[-1] for need in missing)


def _first_words(java_: Path) -> str:
    try:
        return subprocess.run([str(java_), "-version"], capture_output=True, text=True, check=False, timeout=30).stderr  # noqa: S603
    except OSError:
        return ""


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _folders(name: str) -> list[Path]:
    found = _on_path(name)
    return [found.resolve().parent] if found else []
