"""Users who are named one by one, as an import of a file with a row for each."""

import hmac
import json
from collections.abc import Sequence
from typing import Any, Final, Literal

from schemas.columns import USER_ID
from schemas.errors import UserError
from schemas.import_spec import ImportSpec

FILE_NAMES: Final = {"append": "added-users.jsonl", "remove": "removed-users.jsonl"}
MARK_DIGITS: Final = 16
Change = Literal["append", "remove"]


def file_of(users: Sequence[str]) -> bytes:
    """JSON Lines, which hold any id."""
    return b"".join(json.dumps({USER_ID: user}).encode() + b"\n" for user in users)


def settings_for(change: Change) -> dict[str, Any]:
    """How the file is read, whatever the files of the audience are like. Members who are in it keep their values."""
    return {"mode": change, "id_column": USER_ID, "columns": [], "format": "jsonl", "max_reject_share": 0.0}


def require_no_columns(audience: str, spec: ImportSpec) -> None:
    """Refuse to add members without the columns that every file must have. Raises `UserError` MISSING_COLUMN."""
    if needed := [column.name for column in spec.needed_columns]:
        options = " ".join(f"--allow-missing-column {name}" for name in needed)
        raise UserError(
            "MISSING_COLUMN",
            f"members of {audience} have {', '.join(needed)}, which a list of ids has not: import a file with them "
            f"(`muster import FILE --audience {audience} --mode append`), or let new members be without: `muster "
            f"audiences configure {audience} {options}`",
            missing=needed,
        )


def audited(users: Sequence[str], key: bytes) -> dict[str, Any]:
    """What the audit trail has of the ids: keyed hashes, by which those with the key find a known user."""
    marks = [hmac.digest(key, user.encode(), "sha256").hex()[:MARK_DIGITS] for user in users]
    return {"users": len(users), "user_hmacs": marks}
