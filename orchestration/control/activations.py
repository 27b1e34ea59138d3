"""Publishes changes of segments to `muster.segment-activations`, in order per tenant, at least once.

1. An audience that a rule names: publish its current version before the first such rule, and again whenever the version
   changes. Retention keeps that version from before it is published until another one is.
2. A rule to be evaluated, a pause, a deletion: publish to every partition, then mark as sent.
3. A worker whose status contradicts the last message gets it again: two instances that send at once may leave an older
   message behind a newer one. The interval doubles, since a repeat may not help.
4. A waiting snapshot: ask the partitions again. Those that have answered ignore it; a request that was lost with its
   owner does no harm.
"""

import itertools
import logging
from collections.abc import Callable
from typing import Final

from connectors.publishing.activations import ActivationSender
from orchestration.catalog.activations import ActivationStore
from orchestration.catalog.audiences import AudienceStore
from orchestration.catalog.jobs import JobStore
from orchestration.catalog.records import Job
from orchestration.catalog.references import ref_of
from orchestration.catalog.segment_records import Activation, Segment
from orchestration.catalog.segments import SegmentStore
from orchestration.control.periodic import REST_S, Lane, PeriodicTask
from orchestration.kinds.snapshot.cut_requests import cut_request
from schemas.errors import MusterError, UserError
from schemas.ids import AudienceName, JobId, TenantName, Version
from schemas.log_ids import bound
from schemas.segment_messages import AudienceActivated
from segmentation.rules.record_reader import rule_from_json
from segmentation.rules.references import names
from segmentation.versions import VersionStore

RESEND_AFTER_MS: Final = 30_000
"""Before a message is repeated; doubles each time."""
_log = logging.getLogger(__name__)


class Activations:
    """Publishes activations. Steps are numbered as in the module docstring."""

    def __init__(
        self,
        sender: ActivationSender,
        *,
        activations: ActivationStore,
        segments: SegmentStore,
        audiences: AudienceStore,
        jobs: JobStore,
        versions: VersionStore,
    ) -> None:
        self._sender = sender
        self._activations = activations
        self._segments = segments
        self._audiences = audiences
        self._jobs = jobs
        self._versions = versions
        self._again: dict[JobId, tuple[int, int]] = {}  # when it may be repeated, and how long to wait after that

    def lane(self, quiet: Callable[[int], bool] = lambda _: False) -> Lane:
        """The steps, as tasks of one lane."""
        return Lane(
            name="activations",
            quiet=quiet,
            tasks=(
                PeriodicTask(
                    name="activations", every_s=0.5, run=self.emit_due, first_s=0, rest_s=REST_S, on_wake=True
                ),
                PeriodicTask(
                    name="audiences", every_s=2, run=lambda _: self.emit_audiences(), first_s=0, rest_s=REST_S
                ),
                PeriodicTask(name="contradictions", every_s=10, run=self.resend_contradicted, first_s=0),
                PeriodicTask(name="snapshots", every_s=30, run=lambda _: self.repeat_cut_requests(), first_s=0),
            ),
        )

    def emit_due(self, now: int) -> None:
        """Steps 1 and 2. A failure for one tenant is logged and retried at the next tick."""
        for tenant, due in itertools.groupby(self._activations.unsent(), lambda one: one.tenant):
            with bound(tenant=tenant):
                self._emit_due(list(due), now)

    def emit_audiences(self) -> None:
        """Step 1, for rules that are evaluated already."""
        for tenant in self._audiences.tenants():
            with bound(tenant=tenant):
                self._emit_audiences(tenant)

    def resend_contradicted(self, now: int) -> None:
        """Step 3."""
        for segment in self._activations.contradicted():
            self._resend_contradicted(segment, now)

    def repeat_cut_requests(self) -> None:
        """Step 4."""
        for job in self._jobs.live():
            if job.segment is not None and job.state == "AWAITING":
                with bound(**job.log_ids):
                    self._repeat_cut_request(job)

    def _emit_due(self, due: list[Activation], now: int) -> None:
        try:
            for one in due:
                if one.kind == "activate":
                    for audience in names(rule_from_json(one.rule.encode())).audiences:
                        self._emit(one.tenant, AudienceName(audience))  # 1
                offsets = self._sender.send(one.message)  # 2
                self._activations.mark_sent(one, offsets, now)
                _log.info(
                    "request sent to workers: %s segment %s, rule version %d", one.kind, one.segment, one.rule_version
                )
        except MusterError as exc:
            _log.warning("cannot send segments to workers: %s", exc)

    def _emit_audiences(self, tenant: TenantName) -> None:
        rules = self._segments.rules(tenant)
        named = {AudienceName(audience) for rule in rules.values() for audience in names(rule).audiences}
        self._activations.forget_all_but(tenant, named)
        try:
            for audience in sorted(named):
                self._emit(tenant, audience)
        except MusterError as exc:
            _log.warning("cannot send audiences to workers: %s", exc)

    def _emit(self, tenant: TenantName, name: AudienceName) -> None:
        try:
            audience = self._audiences.get(tenant, name)
        except UserError as exc:
            # No current rule names it, but an older one may wait with others behind it, which must not wait for ever.
            _log.warning("audience %s is not sent to workers: %s", name, exc)
            return
        sent: Version | None = None
        while (current := self._versions.current(ref_of(audience))) is not None:
            known = self._activations.audience(audience.audience_id)
            if known is None or known.version != current.version:
                earlier = None if known is None else known.version
                self._activations.choose(audience.audience_id, current.version, earlier)
            elif known.told and sent in {None, current.version}:
                return  # the last message wins: another instance may have published a later version before this one
            self._sender.send(AudienceActivated(tenant=tenant, audience=name, version=current.version))
            self._activations.mark_audience_sent(audience.audience_id, current.version)
            sent = current.version
            _log.info("sent to workers: audience %s is at version %d", name, sent)

    def _repeat_cut_request(self, job: Job) -> None:
        try:
            self._sender.send(cut_request(job))
        except MusterError as exc:
            _log.warning("cannot request a snapshot from workers: %s", exc)

    def _resend_contradicted(self, segment: Segment, now: int) -> None:
        due, wait = self._again.get(segment.segment_id, (0, RESEND_AFTER_MS))
        if now >= due:
            self._again[segment.segment_id] = (now + wait, 2 * wait)
            _log.warning(
                "workers report another state of segment %s than was sent to them; sending it again", segment.name
            )
            self._activations.resend(segment, now)
