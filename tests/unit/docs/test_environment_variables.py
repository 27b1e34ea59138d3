"""Variables of the environment have one name, in documents and where they are read."""

import re
from dataclasses import fields

from orchestration.platform.settings import Settings
from tests.trees import PACKAGES, ROOT

NAME = re.compile(r"\bMUSTER_[A-Z0-9_]+\b")
IN_CODE = re.compile(r'"(MUSTER_[A-Z0-9_]+)"')
IN_SCRIPTS = re.compile(r"\$\{(MUSTER_[A-Z0-9_]+)")


def test_every_variable_in_a_document_is_read() -> None:
    code = "".join(file.read_text("utf-8") for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    scripts = "".join(
        file.read_text("utf-8") for file in [*(ROOT / "docker").glob("*.sh"), ROOT / "docker-compose.yml"]
    )
    read = {*IN_CODE.findall(code), *IN_SCRIPTS.findall(scripts)}
    settings = {f"MUSTER_{field.name.upper()}" for field in fields(Settings)}
    documents = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    named = {name: file.name for file in documents for name in NAME.findall(file.read_text("utf-8"))}
    assert {name: file for name, file in named.items() if name not in read | settings} == {}
