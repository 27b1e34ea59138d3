"""docker/sbom.py: the content of an image, from the inventory of its base and the wheels installed on it."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.trees import ROOT, SERVER

PROGRAM: Final = ROOT / "docker/sbom.py"
OURS: Final = f"pkg:pypi/{SERVER['name']}@0.1.0"
INVENTORY: Final = {
    "system": {"name": "debian", "version": "12"},
    "python": "3.11.2",
    "packages": [["bsdutils", "1:2.38.1-5+deb12u3", "amd64", "util-linux"], ["dash", "0.5.12-2", "amd64", "dash"]],
    "distributions": [["pip", "24.0"]],
}
COMPILED_IN: Final = {
    "bomFormat": "CycloneDX",
    "components": [
        {"type": "library", "name": "big-lib", "version": "1.0", "purl": "pkg:pypi/big-lib@1.0"},  # the wheel itself
        {"type": "library", "name": "libz", "version": "1.2", "purl": "pkg:cargo/libz@1.2"},
        {"type": "library", "name": "built-here", "purl": "pkg:cargo/built-here@1?download_url=file://."},
    ],
}


def wheel(folder: Path, name: str, version: str, *metadata: str, bill: Any = None) -> None:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        info = f"{name}-{version}.dist-info"
        lines = ["Metadata-Version: 2.4", f"Name: {name.replace('_', '-')}", f"Version: {version}", *metadata]
        archive.writestr(zipfile.ZipInfo(f"{info}/METADATA"), "\n".join(lines) + "\n\nAbout it\n")
        if bill is not None:
            archive.writestr(zipfile.ZipInfo(f"{info}/sboms/auditwheel.cdx.json"), json.dumps(bill))


@pytest.fixture
def made(tmp_path: Path) -> str:
    """Run on an inventory and wheels: muster needs big-lib with an extra, and a library for old Pythons only."""
    needs = ("Requires-Dist: big_lib[fast]>=1", "Requires-Dist: backport; python_version < '3.11'")
    wheel(tmp_path / "product", SERVER["name"].replace("-", "_"), "0.1.0", "License-Expression: Apache-2.0", *needs)
    of_extras = ("Requires-Dist: quick; extra == 'fast'", "Requires-Dist: slow; extra == 'slow'")
    wheel(tmp_path / "libraries", "big_lib", "1.0", "License: MIT", *of_extras, bill=COMPILED_IN)
    for name in ("quick", "slow", "backport"):
        wheel(tmp_path / "libraries", name, "2.0")
    return written(tmp_path)


def written(folder: Path, inventory: Any = INVENTORY, **env: str) -> str:
    (folder / "inventory").write_text(json.dumps(inventory))
    command = [sys.executable, str(PROGRAM), "inventory", "muster", "libraries", "product"]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, check=True, capture_output=True, text=True)
    return done.stdout


def parts(text: str) -> dict[str, Any]:
    return {part["bom-ref"]: part for part in json.loads(text)["components"]}


def needed(text: str, ref: str) -> list[str]:
    [found] = [one.get("dependsOn", []) for one in json.loads(text)["dependencies"] if one["ref"] == ref]
    return list(found)


def test_bill_lists_system_packages_python_and_distributions(made: str) -> None:
    assert set(parts(made)) == {
        "os:debian@12",
        "pkg:deb/debian/bsdutils@1:2.38.1-5%2Bdeb12u3?arch=amd64&distro=debian-12&upstream=util-linux",
        "pkg:deb/debian/dash@0.5.12-2?arch=amd64&distro=debian-12",
        "python@3.11.2",
        "base:pkg:pypi/pip@24.0",
        OURS,
        "pkg:pypi/big-lib@1.0",
        "pkg:pypi/quick@2.0",
        "pkg:pypi/slow@2.0",
        "pkg:pypi/backport@2.0",
    }
    license_ = {"acknowledgement": "declared", "id": "MIT"}
    assert parts(made)["pkg:pypi/big-lib@1.0"]["licenses"] == [{"license": license_}]


def test_components_compiled_into_a_wheel_are_nested(made: str) -> None:
    [inside] = parts(made)["pkg:pypi/big-lib@1.0"]["components"]
    assert (inside["name"], inside["purl"]) == ("libz", "pkg:cargo/libz@1.2")


def test_dependencies_follow_metadata_python_version_and_extras(
    made: str,
) -> None:
    assert needed(made, "muster") == ["os:debian@12", OURS, "python@3.11.2"]
    assert needed(made, OURS) == ["pkg:pypi/big-lib@1.0"]
    assert needed(made, "pkg:pypi/big-lib@1.0") == ["pkg:pypi/quick@2.0"]


def test_bill_matches_the_schema(made: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made) is None


def test_bill_is_reproducible_and_serial_numbers_follow_inputs(made: str, tmp_path: Path) -> None:
    again = [written(tmp_path, PYTHONHASHSEED=seed, SOURCE_DATE_EPOCH=seed) for seed in ("1", "2")]
    assert again == [made, made]
    other = written(tmp_path, {**INVENTORY, "packages": []})
    assert json.loads(other)["serialNumber"] != json.loads(made)["serialNumber"]
