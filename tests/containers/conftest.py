"""Tests that need Docker and the images of `make images`. In CI they fail where it is missing; elsewhere they skip."""

import os
import subprocess

import pytest


@pytest.fixture(scope="session", autouse=True)
def docker_answers() -> None:
    """A Docker engine with the images."""
    images = ["apache/kafka:4.3.1", "postgres:15", "muster:local"]
    asked = subprocess.run(["docker", "image", "inspect", *images], capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        return
    why = f"Docker or its images are missing (make images): {asked.stderr.strip()[:200]}"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
