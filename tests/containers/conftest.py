"""Tests that need Docker and the images of `make images`. Without them they fail in CI, and skip elsewhere."""

import subprocess

import pytest

from tests.conftest import unavailable
from tests.servers import images


@pytest.fixture(scope="session", autouse=True)
def docker_answers() -> None:
    """Require a Docker engine with the images."""
    needed = [images.KAFKA, images.POSTGRES, images.PRODUCT, images.STACK]
    asked = subprocess.run(["docker", "image", "inspect", *needed], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        unavailable(f"Docker and its images (make images): {asked.stderr.strip()[:200]}")
