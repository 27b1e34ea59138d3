"""sbom.py INVENTORY NAME WHEELS...: the software bill of materials of an image, CycloneDX JSON, on standard output.

INVENTORY is what docker/inventory.py prints in the base; NAME the image's; WHEELS are folders of what is installed upon
the base. Nothing of the machine or the time of the build goes in: the same base and wheels give the same bytes.

Some wheels hold compiled code of others and say so in a bill of their own (PEP 770): that is listed below them. What a
wheel without one has linked in is not known to anybody but its maker.
"""

import hashlib
import json
import sys
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

DECLARED: Final = LicenseAcknowledgement.DECLARED
LONGEST_LICENSE: Final = 100
"""Beyond it the field holds the text of a license, not its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel: what its metadata says, its hash, and the bills that it brings."""

    name: NormalizedName
    metadata: Message
    sha256: str
    bills: tuple[Mapping[str, Any], ...]

    @classmethod
    def read(cls, path: Path) -> "Wheel":
        """Raises `BadZipFile` or `StopIteration` for a file that is no wheel."""
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
        """The distribution, with what its makers say is compiled into it."""
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
                bom_ref=f"{above}#{purl}",  # two wheels may hold the same
            )

    def requires(self, marked: Mapping[str, str], extras: Iterable[str]) -> Iterator[Requirement]:
        """What has to be beside it, installed with some extras on a system that markers are compared with."""
        for line in self.metadata.get_all("Requires-Dist", []):
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({**marked, "extra": x}) for x in ("", *extras)):
                yield needed


def wanted_extras(wheels: Mapping[NormalizedName, Wheel], marked: Mapping[str, str]) -> dict[NormalizedName, set[str]]:
    """The extras that somebody asks for, by distribution."""
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
    """The bill of an image. Raises `BadZipFile` or `StopIteration` for a file that is no wheel."""
    wheels = {wheel.name: wheel for wheel in map(Wheel.read, paths)}
    product = wheels[canonicalize_name("muster")]
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
    """The bill as JSON: without a time, and with a serial number of its content."""
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
