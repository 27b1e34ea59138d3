"""Images from a registry are pinned by digest; images that compose and tests run have names unknown to registries."""

import re
import tomllib
from typing import Final

from tests.trees import CLIENT, ROOT, SERVER

PINNED: Final = re.compile(r"[a-z0-9./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
BUILD: Final = (ROOT / "docker/build.sh").read_text()
COMPOSE: Final = (ROOT / "docker-compose.yml").read_text()


def pins() -> list[str]:
    """Base images of the Dockerfile, and images that docker/build.sh pulls."""
    base = re.findall(r"^ARG BASE=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return [*base, *re.findall(r"_published=\$\{\w+:-(.*)\}$", BUILD, re.MULTILINE)]


def test_pulled_images_are_pinned_by_digest() -> None:
    assert [pin.partition("@")[0] for pin in pins()] == ["python:3.11-slim", "apache/kafka:4.3.1", "postgres:15"]
    assert [pin for pin in pins() if not PINNED.fullmatch(pin)] == []


def test_stages_are_built_only_on_pinned_images() -> None:
    for path in (ROOT / "Dockerfile", *ROOT.glob("docker/*/Dockerfile")):
        text = path.read_text()
        stages = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE))
        assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) <= {"${BASE}", *stages}, path


def test_compose_runs_only_images_of_make_images() -> None:
    named = re.findall(r"image: (?:&\w+ )?(\S+)", COMPOSE)
    made = set(re.findall(r"^\w+=(\$\{\w+:-\S+:local\})$", BUILD, re.MULTILINE))
    assert set(named) - {"*stack"} == made


def test_documentation_names_the_pinned_images() -> None:
    said = PINNED.findall((ROOT / "docs/containers.md").read_text())
    assert sorted(said) == sorted(pins())


def test_images_are_built_without_a_manifest_list() -> None:
    assert re.search(r"^export BUILDX_NO_DEFAULT_ATTESTATIONS=1$", BUILD, re.MULTILINE)


def test_locked_files_have_hashes_and_images_require_them() -> None:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    ours = [package["name"] for package in packages if "editable" in package["source"]]
    assert ours == [CLIENT["name"], SERVER["name"]]
    for package in packages:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files or package["name"] in ours, package["name"]
        assert [file for file in files if not file.get("hash", "").startswith("sha256:")] == [], package["name"]
    jars = tomllib.loads((ROOT / "orchestration/local/kafka/jgo.lock.toml").read_text())["dependencies"]
    assert [jar["artifactId"] for jar in jars if len(jar.get("sha256", "")) != 64] == []
    installs = re.findall(r"pip (?:wheel|download) (.*)", BUILD)
    assert len(installs) == 2
    assert all("--require-hashes" in install for install in installs)
