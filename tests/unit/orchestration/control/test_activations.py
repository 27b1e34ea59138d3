"""What workers learn of segments if the catalog changes at the same time; the rest is in integration tests."""

from pathlib import Path

import pytest

from connectors.publishing.activations import ActivationSender
from orchestration.catalog.segments import NewRule
from orchestration.composition import control_plane
from orchestration.operations.audiences import delete
from schemas.ids import AudienceName, JobId
from schemas.segment_messages import ActivationMessage, RuleActivated, SegmentDeleted
from segmentation.rules.parser import parse_rule
from tests.contract.test_catalog import ACME, VIP
from tests.fakes.version_store import InMemoryVersionStore
from tests.unit.orchestration.notifications.test_notices import make_context


def test_waiting_rule_on_a_deleted_audience_does_not_block_the_tenant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    context = make_context(tmp_path)
    context.__dict__["versions"] = InMemoryVersionStore()
    sent: list[ActivationMessage] = []

    def send(_: ActivationSender, message: ActivationMessage) -> list[int]:
        sent.append(message)
        return [0]

    monkeypatch.setattr(ActivationSender, "send", send)
    buyers, rule = AudienceName("buyers"), NewRule(text="x", timezone=None, rule=parse_rule("in audience vip"))
    context.segments.create(ACME, buyers, rule, new_id=JobId("0" * 26), author="ann", now_ms=1)
    context.segments.delete(ACME, buyers, now_ms=2)
    delete(
        context.audiences.get(ACME, VIP),
        audiences=context.audiences,
        jobs=context.jobs,
        segments=context.segments,
        versions=context.versions,
        consent=context.consent,
    )
    control_plane.activations(context).lane().tick(500)
    assert [type(message) for message in sent] == [RuleActivated, SegmentDeleted]
    assert context.activations.unsent() == []
    assert "audience vip is not sent to workers: UNKNOWN_AUDIENCE" in caplog.text
    context.database.close()
