"""Frames that a compromised child might send: damaged ones, fed to the parent."""

import io
import os
import random
import threading
from functools import lru_cache, partial
from typing import Any
from unittest.mock import patch

from connectors.sources import parsing
from connectors.sources.csv_reader import CsvReader
from connectors.sources.frames import FRAME_AT_ONCE_BYTES, BatchWriter, FrameKind, write_record
from connectors.sources.limits import MIB, ParseLimits
from connectors.sources.parsing import ParsedFile
from connectors.sources.rejects import RejectBatch
from schemas.errors import MusterError, RetriableError, UserError
from tests.hostile.bombs import INTERPRETER
from tests.hostile.fuzzing import damaged
from tests.hostile.isolated import DIED, RAISED, each
from tests.hostile.twin import SPEC, twin_of

Frame = tuple[int, bytes]
HEADER_BYTES = 9
PARENT_PEAK = INTERPRETER + 4 * FRAME_AT_ONCE_BYTES + 100 * MIB
"""Bound for the parent, whatever a frame header asks for: these frames are small."""


class Sent:
    """Stands in for the child: sends these bytes as its frames, then ends."""

    def __init__(self, sent: bytes) -> None:
        self.frames_fd, self._writing = os.pipe()
        self._sent = sent

    def start(self) -> None:
        threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        view = memoryview(self._sent)
        while view:
            view = view[os.write(self._writing, view) :]
        os.close(self._writing)

    def finish(self) -> None:
        """Nothing to do."""

    def fed_at(self) -> float:
        return 0.0

    def close(self) -> None:
        """Nothing to end; the reading process ends soon."""

    def death(self) -> MusterError:
        return RetriableError("PARSER_KILLED", "no more frames")


class Named:
    """A source that is never read."""

    name, size, modified_us, part, groups = "a.csv", 0, 0, None, None


def sound_frames() -> list[Frame]:
    """Frames of every kind, as a child sends them for a file with rows and rejects."""
    content = twin_of(3_000).content() + b"odd\n" * 3
    reading, writing = os.pipe()
    batches = BatchWriter(writing)
    frames = []
    for found in CsvReader(io.BytesIO(content), SPEC):
        if isinstance(found, RejectBatch):
            frames.append((int(FrameKind.REJECTS), found.batch.serialize().to_pybytes()))
        else:
            batches.write(found)
            sent = os.read(reading, 1 << 16)
            frames.append((sent[0], sent[HEADER_BYTES:]))
    rows = len(twin_of(3_000).rows)
    summary = {"rows": rows + 3, "accepted": rows, "rejected": 3, "source_bytes": 0, "decoded_bytes": len(content)}
    for kind, record in (
        (FrameKind.PROGRESS, {"source_bytes": 1, "rows": 1, "rejected": 0}),
        (FrameKind.LAYOUT, {"names": ["user_id"], "encoding": "UTF-8", "spec": SPEC.as_record()}),
        (FrameKind.FORM, {"format": "csv", "compression": "none", "encoding": "UTF-8"}),
        (FrameKind.SUMMARY, summary | {"format": "csv", "compression": "none"}),
        (FrameKind.ERROR, UserError("BAD_HEADER", "the header is unusable", fault="nul_byte").as_record()),
        (FrameKind.DIGESTS, {"partitions": ["0" * 16 + ":0:0:0"]}),
        (FrameKind.BEGIN, {"begin": 17}),
        (FrameKind.GROUPS, {"groups": [{"rows": 5, "begin": 4, "end": 90}]}),
    ):
        write_record(writing, kind, record)
        sent = os.read(reading, 1 << 16)
        frames.append((sent[0], sent[HEADER_BYTES:]))
    os.close(reading)
    os.close(writing)
    return frames


def packed(frames: list[Frame]) -> bytes:
    """Frames as they go through the pipe."""
    return b"".join(bytes([kind]) + len(payload).to_bytes(8, "little") + payload for kind, payload in frames)


def mutation(number: int, seed: int) -> bytes:
    """A stream of two frames, the first of them damaged, or with the payload of another kind."""
    chance = random.Random(f"frames {seed} {number}")
    frames = _frames()
    kind, payload = frames[number % len(frames)]
    if chance.randrange(4) == 0:
        payload = chance.choice(frames)[1]
    if chance.randrange(4):
        payload = damaged(chance, payload)
    stream = packed([(kind, payload), chance.choice(frames)])
    return damaged(chance, stream) if chance.randrange(8) == 0 else stream


_frames = lru_cache(sound_frames)


def mutation_outcome(number: int, seed: int) -> str:
    """`outcome` of a mutation."""
    return outcome(mutation(number, seed))


def outcome(stream: bytes) -> str:
    """Empty if the parent accepts the stream, or the code of its error; anything else is raised."""

    def child(*_: Any, **__: Any) -> Sent:
        return Sent(stream)

    with patch.object(parsing, "ParserProcess", child):
        try:
            parsed = ParsedFile(Named(), SPEC, ParseLimits(), None)  # type: ignore[arg-type]  # nobody reads it
            for _ in parsed:
                pass
        except MusterError as exc:
            return exc.code
        finally:
            os.close(parsed._process.frames_fd)
    return ""


def wrong(count: int, seed: int) -> tuple[list[str], int]:
    """Verdicts of the streams that killed the parent or raised in it, and its peak in bytes."""
    peaks: list[int] = []
    verdicts = each(partial(mutation_outcome, seed=seed), range(count), peaks)
    return [verdict for verdict in verdicts if verdict.startswith((DIED, RAISED))], max(peaks)
