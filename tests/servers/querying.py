"""docs/querying.md: its blocks, and the audience and exports that they read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from connectors.lake.store import IcebergVersionStore
from connectors.sinks.destinations import destination
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.exporting import export
from connectors.sinks.selection import PinnedVersion
from connectors.storage.access import S3Access
from schemas.columns import Column, RowSchema
from schemas.ids import AudienceName, TenantName, Version
from schemas.manifest import ExportFormat
from segmentation.versions import AudienceRef
from tests.integration.lake.support import BUCKET, Parts, limits, new_id, request

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "querying.md"
SCHEMA: Final = RowSchema(
    columns=(
        Column(name="age", type="long"),
        Column(name="country"),
        Column(name="spend", type="double"),
        Column(name="opted_in", type="boolean"),
        Column(name="born", type="date"),
        Column(name="seen", type="timestamp"),
    )
)
ANSWER: Final = [("DE", 1), ("JP", 3)]
"""Result of every example: members of version 3 by country."""
SEEN: Final = datetime(2026, 11, 25, 9, 0, 0, 1, tzinfo=UTC)
BORN: Final = date(1990, 2, 28)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: the engine that runs it, the text, and its line in the document."""

    engine: str
    text: str
    line: int


def blocks() -> list[Block]:
    """All blocks of the document; the engine is the last word after the fence (the only word, or the second)."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return [
        Block(engine=found[1].split()[-1], text=found[2], line=text[: found.start()].count("\n") + 1)
        for found in re.finditer(r"^```(\S[^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder with the exports of the document, where its examples run, and values for their placeholders."""

    folder: Path
    words: Mapping[str, str]

    def filled(self, text: str) -> str:
        """An example with values in place of its placeholders."""
        return re.sub("|".join(self.words), lambda found: self.words[found[0]], text)


def arrange(folder: Path, s3: S3Access, store: IcebergVersionStore, catalog_url: str) -> Place:
    """Four versions of `acme.vip`: the second is larger, the fourth is empty. Exports are of the third."""
    ref = AudienceRef(tenant=TenantName("acme"), audience=AudienceName("vip"), audience_id=new_id())
    row = {"age": 30, "country": "JP", "spend": 1.5, "opted_in": True, "born": BORN, "seen": SEEN}
    members = [
        {"user_id": "007", **row},
        {"user_id": "ann", **row, "age": None, "spend": 0.1 + 0.2},
        {"user_id": "bob", **row, "country": "DE", "opted_in": None, "born": None, "seen": None},
        {"user_id": "c,y\n", **row, "spend": None},
    ]
    for order, rows in enumerate([members[:1], [*members, {"user_id": "gone", **row}], members, []], start=1):
        parts = Parts(s3).write(ref, new_id(), rows, SCHEMA, partitions=4)
        store.publish(request(ref, parts, str(order), row_schema=SCHEMA, partitions=4))
    info = store.version(ref, Version(3))
    version = PinnedVersion(info=info, parts=tuple(store.files(ref, Version(3))))
    s3.client().create_bucket(Bucket="exports")
    parquet, csv = ExportFormat(format="parquet"), ExportFormat(format="csv", null_token="\\N", compression="gzip")
    for to, format_ in (("exports/vip", parquet), ("exports/vip-csv", csv), ("s3://exports/vip", parquet)):
        order_ = ExportOrder(
            export_id=new_id(),
            tenant="acme",
            audience="vip",
            version=version,
            format=format_,
            created_at="2026-11-25T00:00:00Z",
        )
        place = destination(to if "://" in to else str(folder / to), s3)
        export(order_, place, s3=s3, limits=limits(folder))
    address = store.address(ref)
    assert address is not None
    assert (address.name, address.location.startswith(f"s3://{BUCKET}/")) == ("acme.vip", True)
    return Place(
        folder=folder,
        words={
            "S3_KEY": s3.access_key,
            "S3_SECRET": s3.secret_key,
            "S3_ENDPOINT": s3.host,
            "CATALOG_URL": catalog_url,
            "CATALOG_JDBC": catalog_url.replace("sqlite:///", "jdbc:sqlite:"),
            "TABLE_METADATA": address.metadata,
            "SNAPSHOT_ID": str(info.snapshot_id),
        },
    )


def counted(rows: Any) -> list[tuple[str, int]]:
    """Rows of a result as plain values."""
    return [(str(country), int(members)) for country, members in rows]
