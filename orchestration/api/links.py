"""Links of the OpenAPI document: which operations take the ids in an answer."""

from collections.abc import Mapping
from typing import Any, Final

LINKS: Final[Mapping[str, tuple[str, str, tuple[str, ...]]]] = {
    "check_file": ("operation", "operation", ("get_check",)),
    "check_segment": ("operation", "operation", ("get_operation",)),
    "compare_versions": ("operation", "operation", ("get_operation",)),
    "create_audience": (
        "audience",
        "audience",
        ("get_audience", "configure_audience", "list_versions", "rename_audience", "delete_audience"),
    ),
    "create_own_token": ("token", "token", ("revoke_own_token",)),
    "create_schedule": ("schedule", "name", ("get_schedule", "change_schedule", "run_schedule", "delete_schedule")),
    "create_segment": (
        "segment",
        "segment",
        (
            "get_segment",
            "edit_segment",
            "list_rule_versions",
            "change_segment_state",
            "check_segment",
            "explain_membership",
            "snapshot_segment",
            "delete_segment",
        ),
    ),
    "create_token": ("token", "token", ("revoke_token",)),
    "create_upload": ("upload", "upload", ("get_upload", "presign_parts", "complete_upload", "delete_upload")),
    "expire_versions": ("operation", "operation", ("get_operation",)),
    "rename_audience": ("operation", "operation", ("get_operation",)),
    "roll_back": ("operation", "operation", ("get_operation",)),
    "snapshot_segment": ("job", "job", ("get_job", "get_receipt", "cancel_job")),
    "start_export": ("export", "export", ("list_export_files",)),
    "start_import": ("job", "job", ("get_job", "get_receipt", "get_rejects", "cancel_job", "retry_job")),
}
"""By operation: a parameter of the path, the member of the answer that it is, and the operations that take it."""
ETAG: Final = "ETag"


def add_links(found: dict[str, Any]) -> None:
    """Add the links to the operations of a document. An answer's ETag is the If-Match of those that take one."""
    operations = {one["operationId"]: one for methods in found["paths"].values() for one in methods.values()}
    for name, (parameter, member, targets) in LINKS.items():
        for answer in (a for status, a in operations[name]["responses"].items() if status < "3"):
            answer["links"] = {
                target: {
                    "operationId": target,
                    "parameters": _parameters(operations[target], answer, parameter, f"$response.body#/{member}"),
                }
                for target in targets
            }


def _parameters(target: dict[str, Any], answer: dict[str, Any], parameter: str, value: str) -> dict[str, str]:
    tagged = ETAG in answer.get("headers", {})
    known = {
        ("path", "tenant"): "$request.path.tenant",
        ("path", parameter): value,
        **({("header", "if-match"): f"$response.header.{ETAG}"} if tagged else {}),
    }
    given = {(one["in"], one["name"].lower()): one["name"] for one in target.get("parameters", ())}
    return {f"{where}.{given[where, name]}": text for (where, name), text in known.items() if (where, name) in given}
