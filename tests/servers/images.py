"""The image of the product that tests run, and one whose tasks are those of the engine's tests."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.conftest import unavailable

IMAGE: Final = os.environ.get("MUSTER_IMAGE", "muster:local")
TASK_IMAGE: Final = f"{IMAGE}-engine-tests"
ROOT: Final = Path(__file__).parents[2]
NEEDED: Final = (
    "tests/__init__.py",
    "tests/engine/__init__.py",
    "tests/engine/handlers.py",
    "tests/contract/__init__.py",
    "tests/contract/lambda_handlers.py",
)
DOCKERFILE: Final = f"""
FROM {IMAGE}
COPY tests /opt/tests/tests
ENV PYTHONPATH=/opt/tests
ENTRYPOINT ["sh", "-c", "shift; exec python -m tests.engine.handlers \\"$@\\"", "--"]
"""
"""The first word is `task`, which the entry point of the product reads."""


def docker(*arguments: str) -> str:
    """What a command of Docker prints."""
    return subprocess.run(["docker", *arguments], capture_output=True, check=True, text=True).stdout.strip()


def build_task_image() -> str:
    """The image whose tasks are `tests.engine.handlers`; its name. Fails, or skips, without the product's image."""
    try:
        docker("image", "inspect", IMAGE)
    except (OSError, subprocess.CalledProcessError):
        unavailable(f"Docker and the image {IMAGE} (make images)")
    with TemporaryDirectory() as context:
        for name in NEEDED:
            target = Path(context) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
        (Path(context) / "Dockerfile").write_text(DOCKERFILE)
        docker("build", "--quiet", "--tag", TASK_IMAGE, context)
    return TASK_IMAGE
