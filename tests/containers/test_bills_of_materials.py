"""Compares the images' bills of materials with their content."""

import json
import subprocess
from typing import Any, Final

import pytest

from tests.servers.images import PRODUCT, ROOT, STACK, docker
from tests.trees import CLIENT, SERVER

pytestmark = pytest.mark.containers

BILL: Final = "/opt/muster/sbom.cdx.json"
INVENTORY: Final = (ROOT / "docker/inventory.py").read_bytes()
BASE_PYTHON: Final = "$(python -c 'import sys; print(sys._base_executable)')"
IMAGES: Final = pytest.mark.parametrize("image", [PRODUCT, STACK])


def bill(image: str) -> str:
    return docker("run", "--rm", "--user=4711", "--entrypoint=cat", image, BILL)


def inventory(image: str, python: str) -> Any:
    """Packages that one of the image's Pythons finds, and dpkg's."""
    command = [
        "docker",
        "run",
        "--rm",
        "--interactive",
        "--network=none",
        "--entrypoint=sh",
        image,
        "-c",
        f"exec {python} -",
    ]
    return json.loads(subprocess.run(command, input=INVENTORY, check=True, capture_output=True, timeout=300).stdout)


def listed(text: str, kind: str) -> set[tuple[str, str]]:
    """Names and versions of one kind of package."""
    parts = json.loads(text)["components"]
    return {(part["name"], part["version"]) for part in parts if part.get("purl", "").startswith(f"pkg:{kind}/")}


@IMAGES
def test_bill_lists_exactly_the_packages_of_the_image(image: str) -> None:
    said = bill(image)
    ours, of_base = inventory(image, "python"), inventory(image, BASE_PYTHON)
    installed = {(name, version) for found in (ours, of_base) for name, version in found["distributions"]}
    assert {CLIENT["name"], SERVER["name"], "duckdb"} <= {name for name, _ in installed}
    assert listed(said, "pypi") == installed
    assert listed(said, "deb") == {(name, version) for name, version, *_ in ours["packages"]}
    assert listed(said, "generic") == {("python", ours["python"])}


@IMAGES
def test_bill_of_an_image_matches_the_cyclonedx_schema(image: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill(image)) is None
