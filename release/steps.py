"""The steps of a release, in a working tree that nothing else changes in the meantime.

1. Ask the advisory databases about the lock files; known vulnerabilities end the release. If none is reachable, say so.
2. Set the date in CHANGELOG.md, the version, and the version of the client that the server requires.
3. Install the files of others that the console serves; build wheel and sdist of client and server into dist/, and check
   that they contain these and every tracked file of the packages.
4. Build the images, if Docker answers.
5. Commit, then tag. Nothing is pushed.
If a step up to the commit fails, the changed files are restored, and neither a commit nor a tag is made.
"""

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

from release import advisories
from release.changelog import FILE, dated
from release.git import git, lines
from release.versions import CLIENT, PROJECT, VERSIONED, Version, distribution, set_version
from web.__main__ import FILES, FOLDER, VENDOR

CHANGED: Final = (FILE, VERSIONED, PROJECT, advisories.FILE)
DIST: Final = "dist"
SAME_BYTES: Final = {"SOURCE_DATE_EPOCH": "1700000000"}
"""As in docker/build.sh: the same tree makes the same wheel."""

SERVED: Final = tuple(f"{VENDOR.relative_to(FOLDER.parent)}/{Path(file).name}" for file in FILES)
"""Files of others in the packages, which git does not have."""

Say = Callable[[str], None]


class StepError(Exception):
    """A step failed; the message says why."""


def release(root: Path, version: Version, day: date, say: Say) -> None:
    """Take all steps. Raises `StepError`, or `CalledProcessError` if a program fails."""
    with _restored(root):
        audit(root, day, say)
        path = root / FILE
        path.write_text(dated(path.read_text(encoding="utf-8"), version, day), encoding="utf-8")
        set_version(root, version)
        say(f"{', '.join((FILE, VERSIONED, PROJECT))}: {version} of {day.isoformat()}")
        for file in build(root, version):
            say(f"{file.relative_to(root)}: {file.stat().st_size / 1024:,.0f} KiB")
        images(root, version, say)
        git(root, "add", *CHANGED)
        git(root, "commit", "--quiet", "--message", f"Release {version}")
    git(root, "tag", "--annotate", version.tag, "--message", f"Muster {version}")
    say(f"{git(root, 'log', '-1', '--format=%h %s')}, tag {version.tag}")


def audit(root: Path, day: date, say: Say) -> None:
    """Check the lock files. Raises `StepError` if they pin a package with a known vulnerability."""
    if advisories.check(root, day, say, advisories.Databases()) == "vulnerable":
        raise StepError("the lock files pin packages with known vulnerabilities; update those packages")


def build(root: Path, version: Version) -> tuple[Path, ...]:
    """Build client and server into dist/. Raises `StepError` if a wheel or an sdist lacks a file of a package."""
    folder = root / DIST
    _run([sys.executable, "-m", "web"], root)
    _run([_tool("uv"), "build", "--quiet", "--all-packages", "--out-dir", str(folder)], root)
    packages = tomllib.loads((root / PROJECT).read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    of_server = [*lines(root, "ls-files", "--", *packages["wheel"]["packages"]), *SERVED]
    of_client = [file for file in lines(root, "ls-files", "--", CLIENT) if not file.endswith(PROJECT)]
    return (
        *_checked(folder, distribution(root), version, of_server),
        *_checked(folder, distribution(root, CLIENT), version, of_client, inside=f"{CLIENT}/"),
    )


def _checked(folder: Path, name: str, version: Version, files: Sequence[str], inside: str = "") -> tuple[Path, Path]:
    """Wheel and sdist of a distribution with these files. `inside`: the folder of the checkout that the sdist holds."""
    name = f"{name.replace('-', '_')}-{version}"
    wheel, sdist = folder / f"{name}-py3-none-any.whl", folder / f"{name}.tar.gz"
    with zipfile.ZipFile(wheel) as archive:
        complete(wheel, archive.namelist(), files)
    with tarfile.open(sdist) as archive_of_source:
        complete(sdist, archive_of_source.getnames(), [f"{name}/{file.removeprefix(inside)}" for file in files])
    return wheel, sdist


def complete(archive: Path, held: Sequence[str], wanted: Sequence[str]) -> None:
    """Check the content of an archive. Raises `StepError` if it lacks a file."""
    if missing := sorted(set(wanted) - set(held)):
        raise StepError(f"{archive.name} lacks {', '.join(missing)}")


def images(root: Path, version: Version, say: Say) -> None:
    """Build `muster:VERSION` and `muster-stack:VERSION`. If Docker does not answer, say so and skip them."""
    if not docker_answers():
        say("images: skipped, Docker does not answer")
        return
    names = {"MUSTER_IMAGE": f"muster:{version}", "MUSTER_STACK_IMAGE": f"muster-stack:{version}"}
    _run(["docker/build.sh"], root, PYTHON=sys.executable, **names)
    say(f"images: {', '.join(names.values())}")


def docker_answers() -> bool:
    """True if a Docker daemon answers."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextmanager
def _restored(root: Path) -> Iterator[None]:
    """Restore the changed files if anything fails."""
    before = {file: (root / file).read_bytes() for file in CHANGED}
    try:
        yield
    except BaseException:
        for file, content in before.items():
            (root / file).write_bytes(content)
        git(root, "reset", "--quiet", "--", *CHANGED)
        raise


def _tool(name: str) -> str:
    """Path of a program next to this Python."""
    return str(Path(sys.executable).parent / name)


def _run(command: Sequence[str], root: Path, **environment: str) -> None:
    subprocess.run(command, cwd=root, env={**os.environ, **SAME_BYTES, **environment}, check=True)
