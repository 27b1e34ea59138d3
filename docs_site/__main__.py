"""`python -m docs_site [FOLDER]`: build the site in FOLDER/site, by default .docs/site (`make docs`)."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from docs_site import commands, operations
from docs_site.navigation import as_toml, navigation
from docs_site.pages import DOCS, ROOT, LinkedFileError, stage

CONFIG: Final = Path(__file__).parent / "zensical.toml"
BUILT: Final = ROOT / ".docs"
COMMANDS: Final = "reference/commands.md"
WORKER: Final = ROOT / "web" / "node_modules" / "iframe-worker" / "shim" / "index.js"


def build(folder: Path) -> int:
    """Write pages and configuration, and build. Returns the exit code: a broken link is an error."""
    shutil.rmtree(folder, ignore_errors=True)
    stage(folder / "pages")
    (folder / "pages" / "assets").mkdir()
    shutil.copyfile(WORKER, folder / "pages" / "assets" / "iframe-worker.js")
    api = []
    for title, path, text in operations.pages():
        _write(folder / "pages" / path, text)
        api.append((title, path))
    _write(folder / "pages" / COMMANDS, commands.page())
    decisions = [
        (page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# "), f"adr/{page.name}")
        for page in sorted((DOCS / "adr").glob("*.md"))
    ]
    nav = navigation(
        {"Reference": {"Commands": [("All commands", COMMANDS)], "API": api}, "Internals": {"Decisions": decisions}}
    )
    text = CONFIG.read_text(encoding="utf-8").replace("[project]\n", f"[project]\nnav = {as_toml(nav)}\n", 1)
    _write(folder / "zensical.toml", text)
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--clean", "--strict"]
    return subprocess.run(command, cwd=folder, check=False).returncode


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> int:
    """Build where the command line says."""
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else BUILT
    try:
        code = build(folder)
    except LinkedFileError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    if code == 0:
        sys.stdout.write(f"{folder / 'site' / 'index.html'}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
