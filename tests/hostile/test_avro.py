"""Odd, damaged or lying Avro files: the rows that were written, or a named error."""

import random
from functools import partial
from pathlib import Path

import pytest

from tests.hostile.avro_bytes import CODECS, avro
from tests.hostile.avro_cases import AVRO_SPEC, KINDS, TWIN, twin
from tests.hostile.isolated import each
from tests.hostile.reading import avro_verdict, read_avro


@pytest.mark.parametrize("kind", KINDS)
def test_avro_file_yields_its_rows_or_a_named_error(kind: str, tmp_path: Path) -> None:
    verdicts = each(partial(avro_verdict, folder=tmp_path), list(KINDS[kind]()))
    assert [verdict for verdict in verdicts if verdict] == []


@pytest.mark.parametrize("codec", CODECS)
def test_changed_bytes_end_with_a_name(codec: str) -> None:
    """In a block without a checksum they may make other values; no other exception escapes."""
    content, dice = avro(TWIN, twin()[:40], codec, 20), random.Random(codec)
    for _ in range(60):
        changed = bytearray(content)
        for _ in range(dice.randint(1, 4)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        read_avro(bytes(changed), AVRO_SPEC, max_decoded_bytes=1 << 28)
