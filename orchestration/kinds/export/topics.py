"""The steps of an export to `kafka://TOPIC`: markers around the chunks of the groups take the place of a manifest.

The digest of the sent chunks is compared with the digest of the version before the end markers go out, as it is before
a manifest is written: a receiver that waits for the end marker has all of it or nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

from connectors.lake.faults import lake_faults
from connectors.publishing.ports import TopicLog
from connectors.sinks import kafka_topic
from connectors.sinks.export_order import ExportOrder
from connectors.sinks.kafka_topic import open_topic, partitions_of
from connectors.sinks.selected_rows import selected_rows
from connectors.sinks.selection import Group
from connectors.sinks.stages import Stages
from connectors.sinks.topic_addresses import SCHEME, topic_of
from connectors.sinks.topic_export import ExportAttempt, GroupSent, TopicExport, totals
from connectors.sinks.topic_messages import headers_of
from connectors.storage.access import S3Access
from connectors.storage.duck import DuckLimits
from orchestration.catalog.exports import ExportStore
from orchestration.catalog.records import Export
from orchestration.kinds.export.request import ExportRequest
from schemas.errors import FatalError
from schemas.manifest_selection import Account
from schemas.records import from_record

ABORT_TIMEOUT_S: Final = 10.0


def is_topic(request: ExportRequest) -> bool:
    """Whether the export goes to a topic."""
    return request.to.startswith(SCHEME)


def begin(exports: ExportStore, bootstrap: str, export: Export, request: ExportRequest, order: ExportOrder) -> None:
    """Freeze the topic's partitions and send start markers. Raises as `kafka_topic.start`."""
    if (partitions := export.topic_partitions) is None:
        partitions = partitions_of(open_topic(bootstrap, topic_of(request.to)))
    exports.put(export.job_id, topic_partitions=partitions)
    topic_export = _topic_export(export, request, order, partitions)
    kafka_topic.start(topic_export, _log(bootstrap, request, topic_export, markers=True))


def send(
    bootstrap: str,
    export: Export,
    request: ExportRequest,
    order: ExportOrder,
    group: Group,
    *,
    s3: S3Access,
    limits: DuckLimits,
    on_rows: Callable[[int], None],
) -> GroupSent:
    """Send the chunks of a group. Raises as `kafka_topic.send_group` and as reads from the lake do."""
    accounts: list[Account] = []
    found = selected_rows(
        order.effective_shape,
        group,
        base=order.compared_view,
        s3=s3,
        limits=limits,
        accounts=accounts,
        stages=Stages(),
    )
    with lake_faults("exporting"), closing(found) as rows:
        topic_export = _frozen(export, request, order)
        log = _log(bootstrap, request, topic_export, markers=False)
        sent = kafka_topic.send_group(topic_export, log, group=group.number, rows=rows, on_rows=on_rows)
    return replace(sent, accounts=tuple(accounts))


def finish(
    bootstrap: str,
    export: Export,
    request: ExportRequest,
    order: ExportOrder,
    records: Sequence[Mapping[str, Any]],
) -> dict[str, object]:
    """Check the totals, send the end markers, return the outcome. Raises `FatalError` EXPORT_MISMATCH, and as `end`."""
    topic_export = _frozen(export, request, order)
    groups = [from_record(GroupSent, record) for record in records]
    version = order.version.info
    selection = order.selection(account for group in groups for account in group.accounts)
    if (fault := order.fault(selection, totals(topic_export, groups))) is not None:
        raise FatalError(
            "EXPORT_MISMATCH", f"version {version.version} was not exported: {fault}", version=version.version
        )
    kafka_topic.end(topic_export, _log(bootstrap, request, topic_export, markers=True), groups)
    return {
        "topic": topic_of(request.to),
        "manifest": None,
        "version": version.version,
        "rows": sum(group.rows for group in groups),
        "chunks": sum(part.chunks for group in groups for part in group.partitions),
        "bytes": sum(group.bytes for group in groups),
        "digest": str(version.digest),
        "kept": str(order.kept(selection)),
        **({} if selection is None else selection.omitted_rows()),
    }


def abort(bootstrap: str, export: Export, request: ExportRequest) -> None:
    """Tell receivers that the end will not come, if a start may have been sent. Raises as `kafka_topic.abort`."""
    if export.topic_partitions is None:
        return
    attempt = ExportAttempt(export_id=export.job_id, partitions=export.topic_partitions, json=request.sends_json)
    log = _log(bootstrap, request, attempt, markers=True, delivery_timeout_s=ABORT_TIMEOUT_S)
    kafka_topic.abort(attempt, log, reason=export.state)


def _log(
    bootstrap: str,
    request: ExportRequest,
    export: ExportAttempt | TopicExport,
    *,
    markers: bool,
    delivery_timeout_s: float = 120.0,
) -> TopicLog:
    headers = headers_of(export, markers=markers)
    return open_topic(bootstrap, topic_of(request.to), headers=headers, delivery_timeout_s=delivery_timeout_s)


def _frozen(export: Export, request: ExportRequest, order: ExportOrder) -> TopicExport:
    if export.topic_partitions is None:
        raise FatalError("NOT_PLANNED", f"export {export.job_id} was sent without a plan", job=export.job_id)
    return _topic_export(export, request, order, export.topic_partitions)


def _topic_export(export: Export, request: ExportRequest, order: ExportOrder, partitions: int) -> TopicExport:
    info = order.version.info
    return TopicExport(
        export_id=export.job_id,
        tenant=export.tenant,
        audience=export.audience,
        version=info.version,
        snapshot_id=info.snapshot_id,
        base_version=None if order.base is None else order.base.info.version,
        columns=order.effective_shape.exported,
        partitions=partitions,
        created_at_us=export.created_at_ms * 1000,
        json=request.sends_json,
    )
