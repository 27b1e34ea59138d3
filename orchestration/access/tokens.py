"""Tokens of the API: `mst_<id>_<secret>_<checksum>`.

`id` names the token's row, `secret` is 43 base62 digits (256 random bits), `checksum` the CRC-32 of all before it in
six base62 digits: typing errors are found without asking the service, and secret scanners find tokens by their form.
The catalog keeps only the SHA-256 of a token. A slow hash, as passwords need, would add nothing to 256 random bits.
"""

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass
from typing import Final, Self

from orchestration.platform.settings import Secret
from schemas.errors import UserError
from schemas.ids import JOB_ID_PATTERN, JobId

PREFIX: Final = "mst"
SECRET_BYTES: Final = 32
SECRET_DIGITS: Final = 43  # 62 ** 43 > 256 ** 32
CHECKSUM_DIGITS: Final = 6  # 62 ** 6 > 2 ** 32
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FORM: Final = re.compile(
    rf"({PREFIX}_({JOB_ID_PATTERN.pattern})_[0-9A-Za-z]{{{SECRET_DIGITS}}})_([0-9A-Za-z]{{{CHECKSUM_DIGITS}}})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token in clear. It is shown once, when it is made."""

    token_id: JobId
    text: Secret

    @classmethod
    def make(cls, token_id: JobId, entropy: bytes) -> Self:
        """A new token of 32 random bytes."""
        if len(entropy) != SECRET_BYTES:
            raise ValueError(f"a token needs {SECRET_BYTES} random bytes")
        body = f"{PREFIX}_{token_id}_{_base62(int.from_bytes(entropy, 'big'), SECRET_DIGITS)}"
        return cls(token_id, Secret(f"{body}_{_checksum(body)}"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """A token as a client sent it. Raises `UserError` BAD_TOKEN, which never contains it."""
        found = FORM.fullmatch(text)
        if found is None or found[3] != _checksum(found[1]):
            raise UserError(
                "BAD_TOKEN",
                "this is not a complete token: tokens look like mst_..._..._... and end with a checksum; copy it again",
            )
        return cls(JobId(found[2]), Secret(text))

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal, which is what the catalog keeps."""
        return hashlib.sha256(self.text.reveal().encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        """Whether the catalog's digest belongs to this token, in constant time."""
        return hmac.compare_digest(self.digest, digest)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_DIGITS)


def _base62(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, 62)
        text = _BASE62[digit] + text
    return text
