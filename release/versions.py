"""Versions are x.y.z. The project's version is in pyproject.toml, and in the lock that uv derives from it."""

import re
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

PROJECT: Final = "pyproject.toml"
LOCK: Final = "uv.lock"
NUMBERED: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)
_IN_PROJECT: Final = re.compile(r'^(\[project\]\n(?:(?!\[).*\n)*?version = ")[^"]+(")', re.MULTILINE)
_IN_LOCK: Final = r'^(\[\[package\]\]\nname = "{name}"\nversion = ")[^"]+(")'


class Version(NamedTuple):
    """x.y.z; compares numerically."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> "Version | None":
        """None unless the text is three whole numbers without leading zeros, separated by dots."""
        found = NUMBERED.fullmatch(text)
        return cls(*map(int, found.groups())) if found else None

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def tag(self) -> str:
        """The name of the version's tag."""
        return f"v{self}"


def project_version(root: Path) -> Version:
    """The version in pyproject.toml. Raises ValueError if it is not x.y.z."""
    text = tomllib.loads((root / PROJECT).read_text(encoding="utf-8"))["project"]["version"]
    if (version := Version.parse(text)) is None:
        raise ValueError(f"{PROJECT}: version {text!r} is not x.y.z")
    return version


def set_version(root: Path, version: Version) -> None:
    """Write the version into pyproject.toml and uv.lock. Raises ValueError unless each file has it exactly once."""
    name = tomllib.loads((root / PROJECT).read_text(encoding="utf-8"))["project"]["name"]
    in_lock = re.compile(_IN_LOCK.format(name=re.escape(name)), re.MULTILINE)
    for file, place in ((PROJECT, _IN_PROJECT), (LOCK, in_lock)):
        path = root / file
        text, count = place.subn(rf"\g<1>{version}\g<2>", path.read_text(encoding="utf-8"))
        if count != 1:
            raise ValueError(f"{file} has the version in {count} places instead of one")
        path.write_text(text, encoding="utf-8")
