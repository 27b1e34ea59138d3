"""The service's side of `muster.proof`: it proves that it knows a token, before the token is sent."""

from typing import Final

from muster.proof import proof_of
from orchestration.catalog.api_tokens import TokenStore
from orchestration.platform.clock import fresh_secret
from schemas.ids import JobId

_UNKNOWN: Final = fresh_secret()
"""For ids without a token: their answers look like all others, and stay the same for the same question."""


def prove(tokens: TokenStore, token_id: JobId, nonce: str, address: str) -> str:
    """The proof for a token, by its public id, at the address where the client has reached the service."""
    digest = tokens.digest(token_id)
    if digest is None:
        return proof_of(_UNKNOWN, f"{token_id}\n{nonce}", address)
    return proof_of(bytes.fromhex(digest), nonce, address)
