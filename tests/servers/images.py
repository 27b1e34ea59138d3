"""Images that tests run, named as in docker/build.sh and docker-compose.yml, and one for the engine's tests.

The tasks of the latter are those of `tests.engine.handlers`.
"""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.conftest import unavailable

PRODUCT: Final = os.environ.get("MUSTER_IMAGE", "muster:local")
STACK: Final = os.environ.get("MUSTER_STACK_IMAGE", "muster-stack:local")
KAFKA: Final = os.environ.get("KAFKA_IMAGE", "muster-kafka:local")
POSTGRES: Final = os.environ.get("POSTGRES_IMAGE", "muster-postgres:local")
TASK_IMAGE: Final = f"{PRODUCT}-engine-tests"
ROOT: Final = Path(__file__).parents[2]
NEEDED: Final = (
    "tests/__init__.py",
    "tests/engine/__init__.py",
    "tests/engine/handlers.py",
    "tests/contract/__init__.py",
    "tests/contract/lambda_handlers.py",
)
DOCKERFILE: Final = f"""
FROM {PRODUCT}
COPY tests /opt/tests/tests
ENV PYTHONPATH=/opt/tests
ENTRYPOINT ["python", "-m", "tests.engine.handlers"]
"""


def docker(*arguments: str) -> str:
    """Run a Docker command; returns its output."""
    return subprocess.run(["docker", *arguments], capture_output=True, check=True, text=True).stdout.strip()


def build_task_image() -> str:
    """Build the image with `tests.engine.handlers` as tasks; returns its name.

    Fails, or skips, without the product's image.
    """
    try:
        docker("image", "inspect", PRODUCT)
    except (OSError, subprocess.CalledProcessError):
        unavailable(f"Docker and the image {PRODUCT} (make images)")
    with TemporaryDirectory() as context:
        for name in NEEDED:
            target = Path(context) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
        (Path(context) / "Dockerfile").write_text(DOCKERFILE)
        docker("build", "--quiet", "--tag", TASK_IMAGE, context)
    return TASK_IMAGE
