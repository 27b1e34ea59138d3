"""A small project in its own repository."""

from pathlib import Path

import pytest

from release.git import git

FILES = {
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n### Added\n- A thing.\n",
    "pyproject.toml": (
        '[project]\nname = "server"\ndependencies = [\n    "lib==0.1.0",\n    "client==0.1.0",\n]\n\n'
        '[tool.other]\nversion = "0.1.0"\n'
    ),
    "muster/pyproject.toml": '[project]\nname = "client"\n',
    "muster/__init__.py": '"""The client."""\n\n__version__ = "0.1.0"\n\nfrom muster.a import A\n',
    "uv.lock": '[[package]]\nname = "lib"\nversion = "0.1.0"\n',
    "core/a.py": "A = 1\n",
    "core/side/b.py": "B = 1\n",
    "shell/c.py": "C = 1\n",
    "docs/evidence.md": "# Evidence\n",
    "release/advisories.json": '{"checked": null}\n',
}


def commit(root: Path, **changed: str) -> str:
    """Write files (`core__a` is core/a.py) and commit everything; returns 7 digits of the hash."""
    for name, text in changed.items():
        (root / f"{name.replace('__', '/')}.py").write_text(text)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "A change")
    return git(root, "rev-parse", "--short=7", "HEAD")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Folder of the project; everything is committed, on main."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    for name, value in (("user.name", "Someone"), ("user.email", "someone@example.com"), ("commit.gpgsign", "false")):
        git(tmp_path, "config", name, value)
    commit(tmp_path)
    return tmp_path
