"""`muster verify`: a receiver checks an export, without any service."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.cli.admin.contexts import receiver_context
from orchestration.cli.commands import Answer, Group, command
from orchestration.cli.console import print_line, print_note
from orchestration.cli.exits import ExitCode
from orchestration.cli.export_options import Profile
from orchestration.cli.following import print_skipped
from orchestration.cli.formatting import counted, safe
from orchestration.platform.deferred import deferred

if TYPE_CHECKING:
    from connectors.sinks.checking import Difference
    from schemas.manifest import Manifest

with deferred(__name__):
    from orchestration.composition import administration

TOP = Group("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """An export that was checked against its manifest at `address`, and the first difference, if any."""

    address: str
    manifest: "Manifest"
    difference: "Difference | None"

    def as_record(self) -> dict[str, Any]:
        """Plain JSON data."""
        different = self.difference
        return {
            "manifest": self.address,
            "rows": self.manifest.rows,
            "digest": str(self.manifest.digest),
            "difference": None
            if different is None
            else {
                "key": different.key,
                "what": different.what,
                "expected": str(different.expected),
                "found": str(different.found),
            },
        }


def _show_verified(verified: Verified) -> None:
    if verified.difference is not None:
        print_line(f"DIFFERENT: {safe(str(verified.difference))}")
        return
    found = verified.manifest
    print_line(
        f"version {found.version} of {safe(found.tenant)}/{safe(found.audience)}: {counted(found.rows, 'row')} in "
        f"{counted(len(found.files), 'file')}, all numbers match"
    )
    if found.selection is not None:
        print_skipped(found.selection.rows("filtered"), found.selection.rows("suppressed"))


@command(
    TOP,
    "verify",
    "muster verify exports/vip/manifest.json",
    "muster verify s3://bucket/vip-3/manifest.json",
    show=_show_verified,
)
def verify(
    *,
    manifest: Annotated[str, typer.Argument(metavar="MANIFEST", help="Path or s3://bucket/key of the manifest.")],
    profile: Profile = None,
) -> Answer[Verified]:
    """Verify an export from its manifest alone.

    Recomputes sizes, hashes, rows and digests of all files, and reports the first difference. Exit code 7 if anything
    differs.
    """
    received = administration.received_exports(receiver_context(manifest))
    found, difference = received.verify(
        manifest, profile=profile, on_rows=lambda rows: print_note(f"{counted(rows, 'row')} verified")
    )
    return Answer(
        value=Verified(address=manifest, manifest=found, difference=difference),
        code=ExitCode.OK if difference is None else ExitCode.CHECK_FAILED,
    )
