"""Reject codes and reasons for the faults that the CSV state machine finds."""

from typing import Final

from connectors.sources import csv_kernel as kernel
from connectors.sources.rejects import MEANINGS, RejectCode
from schemas.errors import UserError

CODES: Final = {
    kernel.FIELD_COUNT: RejectCode.FIELD_COUNT,
    kernel.BARE_QUOTE: RejectCode.BARE_QUOTE,
    kernel.TEXT_AFTER_QUOTE: RejectCode.TEXT_AFTER_QUOTE,
    kernel.LONE_CR: RejectCode.LONE_CR,
    kernel.NUL_BYTE: RejectCode.NUL_BYTE,
    kernel.BLANK_LINE: RejectCode.BLANK_LINE,
    kernel.ROW_TOO_LARGE: RejectCode.ROW_TOO_LARGE,
}


def fault_reason(code: RejectCode, limit: int) -> str:
    """Reason as text; `limit` is the largest record in bytes."""
    return f"the record is larger than {limit} bytes" if code is RejectCode.ROW_TOO_LARGE else MEANINGS[code]


def unclosed_quote(byte_offset: int, line: int) -> UserError:
    """Fault of the whole file: a quote that never closes. `line` counts from 1, `byte_offset` is in bytes."""
    return UserError(
        "UNCLOSED_QUOTE",
        f"the quote opened in line {line} (byte {byte_offset}) is never closed, so everything after it is ambiguous",
        line=line,
        byte_offset=byte_offset,
    )
