"""What the broker is started with."""

from orchestration.local.kafka.broker import cluster_id

DASH_FIRST = bytes([0b111110_00]) + bytes(15)
"""The first six bits are 62, which URL-safe base64 writes as a dash."""


def test_cluster_id_that_looks_like_an_option_is_redrawn() -> None:
    draws = iter([DASH_FIRST, DASH_FIRST, bytes(range(16))])
    assert cluster_id(lambda: next(draws)) == "AAECAwQFBgcICQoLDA0ODw"
    assert list(draws) == []
