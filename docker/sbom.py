"""sbom.py INVENTORY NAME WHEELS...: print the software bill of materials of an image as CycloneDX JSON.

INVENTORY is the output of docker/inventory.py in the base image, NAME the name of the image, WHEELS are folders of the
wheels installed on top of the base. The output depends on neither the machine nor the time: the same base and wheels
give the same bytes.

Some wheels bundle compiled third-party code and declare it in their own bill (PEP 770), which is listed below them.
Code bundled in a wheel without a bill cannot be known.
"""

import hashlib
import json
import sys
import tomllib
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Final

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

PROJECT: Final = Path(__file__).parents[1] / "pyproject.toml"
DECLARED: Final = LicenseAcknowledgement.DECLARED
PRODUCT: Final = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["name"]
"""The distribution that an image is made of."""
LONGEST_LICENSE: Final = 100
"""A longer field holds the text of a license, not its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel: its metadata, its hash, and the bills that it contains."""

    name: NormalizedName
    metadata: Message
    sha256: str
    bills: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, path: Path) -> "Wheel":
        """Read a wheel. Raises `BadZipFile` or `StopIteration` for a file that is not a wheel."""
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist())
            folder = next(name.split("/")[0] for name in names if name.endswith(".dist-info/METADATA"))
            metadata = HeaderParser().parsestr(archive.read(f"{folder}/METADATA").decode())
            bills = [
                name for name in archive.namelist() if name.startswith(f"{folder}/sboms/") and name.endswith("json")
            ]
            return cls(
                name=canonicalize_name(metadata["Name"]),
                metadata=metadata,
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                bills=tuple(json.loads(archive.read(name)) for name in bills),
            )

    @property
    def component(self) -> Component:
        """The distribution, including the compiled code that its bills declare."""
        purl = PackageURL("pypi", name=self.name, version=self.metadata["Version"])
        return Component(
            name=self.metadata["Name"],
            version=self.metadata["Version"],
            purl=purl,
            bom_ref=str(purl),
            licenses=list(self._licenses()),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=self.sha256)],
            components=list(self._compiled_in(str(purl))),
        )

    def _licenses(self) -> Iterator[Any]:
        said = self.metadata["License-Expression"] or self.metadata["License"] or ""
        if said and len(said) <= LONGEST_LICENSE and "\n" not in said:
            yield LicenseFactory().make_from_string(said, license_acknowledgement=DECLARED)

    def _compiled_in(self, above: str) -> Iterator[Component]:
        found = {
            part["purl"]: part
            for bill in self.bills
            for part in bill.get("components", [])
            if "purl" in part and PackageURL.from_string(part["purl"]).type != "pypi" and "file:" not in part["purl"]
        }
        for purl, part in found.items():
            yield Component(
                name=part["name"],
                version=part.get("version"),
                purl=PackageURL.from_string(purl),
                bom_ref=f"{above}#{purl}",  # two wheels may bundle the same code
            )

    def requires(self, marked: Mapping[str, str], extras: Iterable[str]) -> Iterator[Requirement]:
        """The wheel's requirements with these extras, on the system that `marked` describes."""
        for line in self.metadata.get_all("Requires-Dist", []):
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({**marked, "extra": x}) for x in ("", *extras)):
                yield needed


def wanted_extras(wheels: Mapping[NormalizedName, Wheel], marked: Mapping[str, str]) -> dict[NormalizedName, set[str]]:
    """The requested extras, by distribution."""
    extras: dict[NormalizedName, set[str]] = {name: set() for name in wheels}
    changed = True
    while changed:
        changed = False
        for name, wheel in wheels.items():
            for needed in wheel.requires(marked, extras[name]):
                to = canonicalize_name(needed.name)
                if to in extras and not needed.extras <= extras[to]:
                    extras[to] |= needed.extras
                    changed = True
    return extras


def system(inventory: Mapping[str, Any]) -> Component:
    """The operating system."""
    about = inventory["system"]
    return Component(
        type=ComponentType.OPERATING_SYSTEM,
        name=about["name"],
        version=about["version"],
        bom_ref=f"os:{about['name']}@{about['version']}",
    )


def packages(inventory: Mapping[str, Any]) -> list[Component]:
    """The packages of the operating system, as scanners look them up."""
    about = inventory["system"]
    made = []
    for name, version, architecture, source in inventory["packages"]:
        qualifiers = {"arch": architecture, "distro": f"{about['name']}-{about['version']}"}
        if source != name:
            qualifiers["upstream"] = source
        purl = PackageURL("deb", about["name"], name, version, qualifiers)
        made.append(Component(name=name, version=version, purl=purl, bom_ref=str(purl)))
    return made


def bill(inventory: Mapping[str, Any], name: str, paths: Iterable[Path]) -> Bom:
    """The bill of an image. Raises `BadZipFile` or `StopIteration` for a file that is not a wheel."""
    wheels = {wheel.name: wheel for wheel in map(Wheel.read, paths)}
    product = wheels[canonicalize_name(PRODUCT)]
    version = inventory["python"]
    marked = {"python_version": ".".join(version.split(".")[:2]), "python_full_version": version}
    root = Component(
        type=ComponentType.CONTAINER,
        name=name,
        version=product.metadata["Version"],
        bom_ref=name,
    )
    python = Component(
        type=ComponentType.PLATFORM,
        name="python",
        version=version,
        purl=PackageURL("generic", name="python", version=version),
        bom_ref=f"python@{version}",
    )
    debian, debs = system(inventory), packages(inventory)
    parts = {found: wheel.component for found, wheel in wheels.items()}
    of_base = []
    for found, at in inventory["distributions"]:
        purl = PackageURL("pypi", name=canonicalize_name(found), version=at)
        of_base.append(Component(name=found, version=at, purl=purl, bom_ref=f"base:{purl}"))

    made = Bom(components=[debian, *debs, python, *of_base, *parts.values()])
    made.metadata.component = root
    made.register_dependency(root, [debian, python, parts[product.name]])
    made.register_dependency(debian, debs)
    made.register_dependency(python, of_base)
    extras = wanted_extras(wheels, marked)
    for found, wheel in wheels.items():
        below = {canonicalize_name(needed.name) for needed in wheel.requires(marked, extras[found])}
        made.register_dependency(parts[found], [parts[other] for other in sorted(below & parts.keys())])
    return made


def written(made: Bom) -> str:
    """The bill as JSON, without a timestamp and with a serial number derived from its content."""
    document = json.loads(JsonV1Dot6(made).output_as_string())
    del document["metadata"]["timestamp"], document["serialNumber"]
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, content).urn
    return json.dumps(document, sort_keys=True, indent=1) + "\n"


def main(inventory: str, name: str, *folders: str) -> None:
    """Write the bill of an image."""
    paths = sorted({path.name: path for folder in folders for path in Path(folder).glob("*.whl")}.values())
    sys.stdout.write(written(bill(json.loads(Path(inventory).read_text()), name, paths)))


if __name__ == "__main__":
    main(*sys.argv[1:])
