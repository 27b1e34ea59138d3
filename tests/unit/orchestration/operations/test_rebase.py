"""What a rebase sends to workers again, and what it waits for."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from orchestration.composition import administration
from orchestration.composition.context import Context
from orchestration.operations import rebase as operations
from orchestration.operations.rebase import Found
from orchestration.operations.scaling import Scaler
from orchestration.platform.clock import now_ms
from schemas.errors import RetriableError
from schemas.ids import AudienceName, JobId
from segmentation.scaling import Limits, Range, Scaled
from tests.contract.test_catalog import ACME
from tests.fakes.rules import new_rule
from tests.unit.orchestration.notifications.test_notices import make_context

NOTHING = Found(topics=(), checkpoints=(), log_epoch=1)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Segments a, b (paused) and c (deleted), already sent to workers; a group without members."""
    monkeypatch.setattr(operations.Rebase, "_reset", lambda *_: None)
    made = make_context(tmp_path)
    for name in "abc":
        rule = new_rule("ever(purchase)")
        new_id = JobId(f"{ord(name):026}")
        made.segments.create(ACME, AudienceName(name), rule, new_id=new_id, author="ann", now_ms=1)
    made.segments.pause(ACME, AudienceName("b"), now_ms=2)
    made.segments.delete(ACME, AudienceName("c"), now_ms=3)
    announce(made)
    return made


def announce(context: Context) -> list[tuple[str, str]]:
    """Send the control plane's unsent activations; returns them."""
    unsent = context.activations.unsent()
    for one in unsent:
        context.activations.mark_sent(one, [0], 9)
    return [(one.segment, one.kind) for one in unsent]


def test_rebase_announces_every_segment_again_first(context: Context) -> None:
    announced: list[tuple[str, str]] = []
    assert administration.rebase(context).run(NOTHING, sleep=lambda _: announced.extend(announce(context))) == 3
    assert announced == [("a", "activate"), ("b", "activate"), ("b", "pause"), ("c", "delete")]


def test_rebase_waits_until_rules_are_announced(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "RESENT_WITHIN_S", 0.0)
    with pytest.raises(RetriableError, match="NOT_TOLD"):
        administration.rebase(context).run(NOTHING, sleep=lambda _: None)


class Services:
    """Services, and the calls by time, of which there are none."""

    def __init__(self) -> None:
        self.counts: dict[Scaled, int] = {}

    def set_count(self, part: Scaled, count: int) -> None:
        self.counts[part] = count

    def set(self, at_ms: int, *, now_ms: int) -> None:
        pass


LIMITS = Limits(workers=Range(least=0, most=1), segment_workers=Range(least=1, most=1), idle_ms=600_000)


@pytest.mark.parametrize("fails", [False, True])
def test_segment_workers_whose_count_follows_the_work_stay_away_during_a_rebase(
    context: Context, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    services = Services()
    scaler = Scaler(context.wanted_counts, services, services, LIMITS)
    scaler.ensure(now_ms())
    assert services.counts[Scaled.SEGMENT_WORKER] == 1
    during: list[tuple[int, int]] = []

    def look(*_: object) -> None:
        scaler.ensure(now_ms())  # somebody adds work
        during.append((services.counts[Scaled.SEGMENT_WORKER], services.counts[Scaled.RELAY]))
        announce(context)

    if fails:
        monkeypatch.setattr(operations, "RESENT_WITHIN_S", 0.0)
    monkeypatch.setattr(operations.Rebase, "_reset", look)
    rebase = replace(administration.rebase(context), scaler=scaler)
    with pytest.raises(RetriableError, match="NOT_TOLD") if fails else nullcontext():
        rebase.run(NOTHING, sleep=(lambda _: None) if fails else look)

    assert set(during) == {(0, 1)}
    assert services.counts[Scaled.SEGMENT_WORKER] == 1
