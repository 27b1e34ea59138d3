"""The parser's parent: nothing that a child sends ends it without a named error."""

from connectors.sources.frames import FrameKind
from tests.hostile import frames


def test_sound_frames_are_accepted() -> None:
    kinds = {kind for kind, _ in frames.sound_frames()}
    assert kinds == set(FrameKind)
    rows = [f for f in frames.sound_frames() if f[0] in (FrameKind.ACCEPTED, FrameKind.REJECTS, FrameKind.SUMMARY)]
    assert frames.outcome(frames.packed(rows)) == ""


def test_damaged_frames_are_named_errors() -> None:
    found, peak = frames.wrong(400, seed=1)
    assert found == []
    assert peak < frames.PARENT_PEAK
