"""Typed declarations of all metrics; docs/metrics.md lists the same ones, and a test compares.

Workers, the control plane and the service serve them to Prometheus (`orchestration.platform.metrics`); a worker also
writes its own as one log record a minute (`metrics name{label="value"}=number ...`).
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

SUMMARY_FIELD: Final = "metrics"
"""The field of the log record that summarises, once a minute, the metrics of the control plane."""
UNDECODABLE_JOB_EVENTS: Final = "UndecodableJobEvents"
"""Metric of the function between Kafka and SNS, in CloudWatch's embedded metric format."""
UNSERVED_MESSAGES: Final = "UnservedMessages"
"""Metric of the function that watches workers which come on demand, in the same format: messages that wait for workers
of which none runs."""
UNCONTROLLED_WORK: Final = "UncontrolledWork"
"""Of the same function: 1 while there is work and no control plane."""
MISSING_TASKS: Final = "MissingTasks"
"""Of the same function: workers and control planes that are wanted and do not run."""
MetricType = Literal["counter", "gauge", "histogram"]
"""counter: only grows while the process lives; gauge: a current value; histogram: how observations are distributed."""


def cloudwatch_namespace(deployment: str) -> str:
    """CloudWatch's namespace of a deployment's metrics, which keeps two deployments in one account apart."""
    return f"Muster/{deployment}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric; every sample carries a value for each of `labels`. The name ends with the unit.

    `buckets`: upper bounds of the buckets of a histogram, inclusive and ascending; a last one takes what is above them.
    `dimension`: the label that CloudWatch keeps. Each of its values is a metric to pay for, so most have none.
    """

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    dimension: str = ""

    def bucket(self, value: float) -> int:
        """The number of the bucket of an observation; `len(buckets)` if it is above all bounds."""
        return bisect_left(self.buckets, value)

    def sample(self, value: float, **labels: str) -> str:
        """`name{label="value"}=number`. Raises ValueError unless exactly the declared labels are given."""
        if set(labels) != set(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}, not {tuple(labels)}")
        shown = ",".join(f'{name}="{labels[name]}"' for name in self.labels)
        return f"{self.name}{{{shown}}}={value:g}" if shown else f"{self.name}={value:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One current value of a metric, with a value for each of its labels.

    Of a histogram, `value` is the sum of all observations, and `counts` has their number in each bucket.
    """

    metric: Metric
    value: float
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.metric.sample(self.value, **dict(zip(self.metric.labels, self.labels, strict=True)))


CHUNKS: Final = Metric(
    name="muster_worker_chunks_total",
    type="counter",
    help="Chunks consumed from the import topics; result: kept, skipped (seen before, or no longer needed), buried "
    "(dead letter).",
    labels=("result",),
)
ROWS: Final = Metric(name="muster_worker_rows_total", type="counter", help="Rows in the chunks that were kept.")
RUNS: Final = Metric(name="muster_worker_runs_total", type="counter", help="Runs written to staging.")
RUN_BYTES: Final = Metric(name="muster_worker_run_bytes_total", type="counter", help="Bytes of rows in those runs.")
PARTITIONS: Final = Metric(
    name="muster_worker_partitions_total",
    type="counter",
    help="Partitions of imports that were announced as finished; result: materialised, failed.",
    labels=("result",),
)
BUFFERED_BYTES: Final = Metric(
    name="muster_worker_buffered_bytes", type="gauge", help="Bytes of rows of imports in memory."
)
GROUPS: Final = Metric(
    name="muster_worker_groups", type="gauge", help="Partitions of import attempts whose state is in memory."
)
MERGES_WAITING: Final = Metric(
    name="muster_worker_merges_waiting", type="gauge", help="Merges that are queued but not started."
)

MERGES: Final = Metric(name="muster_worker_merges_total", type="counter", help="Merges that finished.")
MERGE_SECONDS: Final = Metric(
    name="muster_worker_merge_seconds_total", type="counter", help="Duration of those merges, in seconds."
)
ACTIVITY: Final = Metric(
    name="muster_segments_records_total",
    type="counter",
    help="Records of an activity topic; result: taken (all that were read), moved (forwarded to the partition of its "
    "user), refused (dead letter).",
    labels=("topic", "result"),
)
ACTIVITY_ROWS: Final = Metric(
    name="muster_segments_rows_total",
    type="counter",
    help="Events or profile changes in those records.",
    labels=("topic",),
)
CHANGES: Final = Metric(
    name="muster_segments_changes_total",
    type="counter",
    help="Membership changes emitted (users who entered or left a segment); cause: event, time, profile, members, "
    "rule.",
    labels=("cause",),
)
EVALUATED_USERS: Final = Metric(
    name="muster_segments_users",
    type="gauge",
    help="Users known to the rules of a partition, across all tenants.",
    labels=("partition",),
)
TAIL_BYTES: Final = Metric(
    name="muster_segments_tail_bytes",
    type="gauge",
    help="Bytes of rows of a partition that the archive does not have yet.",
    labels=("partition",),
)
EVALUATED_TO: Final = Metric(
    name="muster_segments_evaluated_to_seconds",
    type="gauge",
    help="The instant for which the answers of a partition are valid, in seconds since 1970 UTC.",
    labels=("partition",),
)
RECOVERY: Final = Metric(
    name="muster_segments_recovery_seconds",
    type="gauge",
    help="How long the owner of a partition has been recovering to the position of its predecessors, in seconds; 0: "
    "recovered.",
    labels=("partition",),
)
CHECKPOINT_BYTES: Final = Metric(
    name="muster_segments_checkpoint_bytes",
    type="gauge",
    help="Size of the last checkpoint that this worker wrote for a partition, in bytes; 0: none yet.",
    labels=("partition",),
)
JOBS: Final = Metric(name="muster_jobs", type="gauge", help="Jobs in the catalog, by state.", labels=("state",))
EXPORTS: Final = Metric(
    name="muster_exports", type="gauge", help="Exports in the catalog, by state.", labels=("state",)
)
SEGMENTS: Final = Metric(
    name="muster_segments", type="gauge", help="Segments in the catalog, by state.", labels=("state",)
)
ACTIVATIONS_WAITING: Final = Metric(
    name="muster_segment_activations_waiting",
    type="gauge",
    help="Segment changes not yet written to all partitions of the activations topic.",
)
SEGMENT_AGE: Final = Metric(
    name="muster_segment_status_age_seconds",
    type="gauge",
    help="Age of the oldest status of any partition of an active segment, in seconds; 0: none.",
)
SEGMENT_CHECKS: Final = Metric(
    name="muster_segment_checks_total",
    type="counter",
    help="Partitions of segments that the control plane has compared with the rule; result: equal, different, "
    "not_possible (no answer from workers or archive, or the rule changed meanwhile).",
    labels=("result",),
)
SEGMENT_MISMATCHES: Final = Metric(
    name="muster_segment_mismatches",
    type="gauge",
    help="Users for whom the stream and the archive disagreed in the last check of each segment.",
)
FOREIGN_LOG: Final = Metric(
    name="muster_segments_other_log",
    type="gauge",
    help="Partitions whose checkpoint belongs to a previous Kafka cluster; segment workers refuse them.",
)
OLDEST_JOB: Final = Metric(
    name="muster_oldest_job_age_seconds",
    type="gauge",
    help="Age of the oldest job that has not ended, in seconds; 0: none.",
)
SCHEDULE_OVERDUE: Final = Metric(
    name="muster_schedule_overdue_seconds",
    type="gauge",
    help="How long the run of a schedule has been due without being started, in seconds; 0: none is.",
)
_REGULAR: Final = (
    "of the up to 200 audiences of which jobs have published three versions or more in seven days, those updated the "
    "longest time ago."
)
AUDIENCE_AGE: Final = Metric(
    name="muster_audience_age_seconds",
    type="gauge",
    help=f"Time since a job published the newest version of an audience, in seconds; {_REGULAR}",
    labels=("tenant", "audience"),
)
AUDIENCE_MEMBERS: Final = Metric(
    name="muster_audience_members",
    type="gauge",
    help=f"Members of the newest version of an audience; {_REGULAR}",
    labels=("tenant", "audience"),
)
AUDIENCE_REJECTED: Final = Metric(
    name="muster_audience_rejected_rows",
    type="gauge",
    help=f"Rejected rows of the import that made the newest version of an audience; {_REGULAR}",
    labels=("tenant", "audience"),
)
FEEDS: Final = Metric(name="muster_feeds", type="gauge", help="Feeds by state.", labels=("state",))
FEED_STALLED: Final = Metric(
    name="muster_feed_stalled_seconds",
    type="gauge",
    help="How long the feed in trouble for longest, or halted, has delivered nothing, in seconds; 0: none is.",
)
LAG: Final = Metric(
    name="muster_consumer_lag",
    type="gauge",
    help="Messages of an import topic not yet acknowledged by any worker, and messages of muster.archive not yet "
    "archived.",
    labels=("topic", "partition"),
)
JOB_EVENTS_STALLED: Final = Metric(
    name="muster_job_events_stalled_seconds",
    type="gauge",
    help="How long job events have been waiting without any acknowledgement from the consumer group in the setting "
    "`job_events_group`, in seconds; only if that is set.",
)
WORKERS: Final = Metric(name="muster_workers", type="gauge", help="Workers that share the partitions.")
DEAD: Final = Metric(name="muster_dead_letters", type="gauge", help="Messages in the dead letter topic.")
NOTIFICATIONS: Final = Metric(
    name="muster_notifications",
    type="gauge",
    help="Notifications that were not delivered; state: waiting (never tried), failing (tried), given up.",
    labels=("state",),
)
PUBLISH_SECONDS: Final = Metric(
    name="muster_publish_seconds",
    type="gauge",
    help="Time from PUBLISHING to READY of the last published version, in seconds.",
)
JOB_BUCKETS_S: Final = (0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600, 3 * 3600, 12 * 3600)
"""From a small import on an idle stack to half a day."""
QUEUE_WAIT: Final = Metric(
    name="muster_job_queue_seconds",
    type="histogram",
    help="Time from the registration of a job to its admission, in seconds; size: as in muster_job_ready_seconds.",
    labels=("size",),
    buckets=JOB_BUCKETS_S,
)
STAGE_SECONDS: Final = Metric(
    name="muster_job_stage_seconds",
    type="histogram",
    help="Time that a job has spent in a stage which it has left for the next one, with the wait for capacity, in "
    "seconds; stage: verify, import, materialise, archive, build, publish, and of exports snapshot, write and finish; "
    "size: as in muster_job_ready_seconds.",
    labels=("stage", "size"),
    buckets=JOB_BUCKETS_S,
    dimension="stage",
)
READY_SECONDS: Final = Metric(
    name="muster_job_ready_seconds",
    type="histogram",
    help="Time from the registration of a job to READY, in seconds; size: small (a file in the lane of small ones), "
    "medium (up to the most that a function processes), large, segment (a snapshot, which has no file), export.",
    labels=("size",),
    buckets=JOB_BUCKETS_S,
    dimension="size",
)
ARCHIVE_RANGES: Final = Metric(
    name="muster_archive_ranges_total",
    type="counter",
    help="Ranges of records received for the archive; result: appended, known (already archived), refused (to be "
    "split again), unusable (files do not have the expected content).",
    labels=("topic", "result"),
)
UNAVAILABLE: Final = Metric(
    name="muster_unavailable",
    type="gauge",
    help="1 while the control plane cannot read this part, so that its metrics are missing; part: catalog, kafka.",
    labels=("part",),
)
API_REQUESTS: Final = Metric(
    name="muster_api_requests_total",
    type="counter",
    help="Requests that the service has answered; operation: its id in the OpenAPI document, none before one was "
    "found; status: of HTTP, 0 if the client was gone.",
    labels=("operation", "status"),
)
API_REQUEST_SECONDS: Final = Metric(
    name="muster_api_request_seconds",
    type="histogram",
    help="Time from the head of a request to the head of its answer, in seconds.",
    labels=("operation",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
API_STREAMS: Final = Metric(
    name="muster_api_streams",
    type="gauge",
    help="Event streams that are open.",
)
WORKER_METRICS: Final = (
    CHUNKS,
    ROWS,
    RUNS,
    RUN_BYTES,
    PARTITIONS,
    BUFFERED_BYTES,
    GROUPS,
    MERGES_WAITING,
    MERGES,
    MERGE_SECONDS,
)
SEGMENT_METRICS: Final = (
    ACTIVITY,
    ACTIVITY_ROWS,
    CHANGES,
    EVALUATED_USERS,
    TAIL_BYTES,
    EVALUATED_TO,
    RECOVERY,
    CHECKPOINT_BYTES,
)
RELAY_METRICS: Final = (
    JOBS,
    EXPORTS,
    SEGMENTS,
    ACTIVATIONS_WAITING,
    SEGMENT_AGE,
    SEGMENT_CHECKS,
    SEGMENT_MISMATCHES,
    FOREIGN_LOG,
    OLDEST_JOB,
    SCHEDULE_OVERDUE,
    AUDIENCE_AGE,
    AUDIENCE_MEMBERS,
    AUDIENCE_REJECTED,
    FEEDS,
    FEED_STALLED,
    LAG,
    JOB_EVENTS_STALLED,
    WORKERS,
    DEAD,
    NOTIFICATIONS,
    PUBLISH_SECONDS,
    QUEUE_WAIT,
    STAGE_SECONDS,
    READY_SECONDS,
    ARCHIVE_RANGES,
    UNAVAILABLE,
)
API_METRICS: Final = (API_REQUESTS, API_REQUEST_SECONDS, API_STREAMS)

METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric for metric in (*WORKER_METRICS, *SEGMENT_METRICS, *RELAY_METRICS, *API_METRICS)
}
EMBEDDED: Final = frozenset((*WORKER_METRICS, *SEGMENT_METRICS, *API_METRICS, QUEUE_WAIT, STAGE_SECONDS, READY_SECONDS))
"""Metrics that processes at AWS write into their logs (`orchestration.platform.embedded_metrics`). The others of the
control plane are in its summary.
"""
