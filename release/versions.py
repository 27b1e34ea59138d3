"""Versions are x.y.z. Client and server have the same one; the server requires its own version of the client."""

import re
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

PROJECT: Final = "pyproject.toml"
CLIENT: Final = "muster"
"""The package of the client, with the pyproject.toml of its distribution."""
VERSIONED: Final = f"{CLIENT}/__init__.py"
ASSIGNMENT: Final = "__version__ = "
NUMBERED: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)
_ASSIGNED: Final = re.compile(rf'^({ASSIGNMENT}")([^"]+)(")$', re.MULTILINE)


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


def distribution(root: Path, folder: str = "") -> str:
    """The name of the distribution that the pyproject.toml in this folder describes."""
    return str(tomllib.loads((root / folder / PROJECT).read_text(encoding="utf-8"))["project"]["name"])


def project_version(root: Path) -> Version:
    """The version of the checkout. Raises ValueError if it is not x.y.z."""
    found = _ASSIGNED.search((root / VERSIONED).read_text(encoding="utf-8"))
    if found is None or (version := Version.parse(found[2])) is None:
        raise ValueError(f"{VERSIONED}: the version is not x.y.z")
    return version


def set_version(root: Path, version: Version) -> None:
    """Write the version, and what the server requires. Raises ValueError unless each file has it exactly once."""
    required = re.compile(rf'^( +"{re.escape(distribution(root, CLIENT))}==)([^"]+)(")', re.MULTILINE)
    for file, place in ((VERSIONED, _ASSIGNED), (PROJECT, required)):
        path = root / file
        text, count = place.subn(rf"\g<1>{version}\g<3>", path.read_text(encoding="utf-8"))
        if count != 1:
            raise ValueError(f"{file} has the version in {count} places instead of one")
        path.write_text(text, encoding="utf-8")
