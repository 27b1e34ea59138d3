"""Traces of imports on the embedded stack, read back from the OpenTelemetry Collector's own receiver."""

import http.client
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from orchestration.access.owner import TOKEN_FILE
from orchestration.catalog.records import Job
from orchestration.composition.context import Context
from schemas.ids import JobId
from schemas.tracing import TraceContext, trace_of
from tests.conftest import PARTS, SOURCES, stacks, unavailable
from tests.integration.whole_imports import TENANT, ended, job_of, upload
from tests.servers import collector as collectors
from tests.servers.collector import Collector, Received, collector
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.containers]
PARTITIONS = 4
SECRET = "somebody@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A stack that sends its spans to a collector."""

    context: Context
    collector: Collector


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    if not collectors.binary().exists():
        unavailable("the OTLP receiver (python -m tests.servers.collector, in make test-containers)")
    folder = tmp_path_factory.mktemp("traced")
    with collector(folder) as running, stacks(folder) as start:
        settings = start(
            parts=(*PARTS, "api"),
            partitions=PARTITIONS,
            workers=2,
            lambda_file_bytes=1024,
            otlp_endpoint=running.url,
        )
        context = Context(settings)
        context.audiences.add_tenant(TENANT, now_ms=1)
        yield Traced(context=context, collector=running)
        context.database.close()


def spans_of(traced: Traced, job: Job, trace_id: str) -> list[Received]:
    """All spans of a job that is READY. Each process sends its own every few seconds, or at the end of a call."""
    assert job.state == "READY", job.error
    own = trace_of(job.job_id).trace_id

    def complete() -> list[Received] | None:
        found = traced.collector.spans(trace_id)
        names = Counter(span.name for span in found)
        by_partition = min(names["materialise partition"], names["record PartitionMaterialised"])
        rest = {"publish", "Notify", "reconcile", "start_import" if trace_id != own else "audience job"}
        return found if rest <= names.keys() and by_partition >= PARTITIONS else None

    return until(complete, f"the trace of job {job.job_id}")


def children(spans: list[Received], parent: str) -> Counter[tuple[str, str]]:
    return Counter((span.service, span.name) for span in spans if span.parent == parent)


def assert_path_through_kafka(spans: list[Received], sender: Received) -> None:
    """Each partition is materialised below what sent it, and recorded below the worker."""
    merges = [span for span in spans if span.name == "materialise partition"]
    assert sorted(span.attributes["muster.partition"] for span in merges) == [str(n) for n in range(PARTITIONS)]
    assert {(span.service, span.parent) for span in merges} == {("muster-worker", sender.span_id)}
    for merge in merges:
        assert children(spans, merge.span_id) == {("muster-control-plane", "record PartitionMaterialised"): 1}


def test_an_upload_is_one_trace_from_its_event_to_the_commit(traced: Traced, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(f"user_id\n{SECRET}\nu2\nu3\n")
    upload(traced.context, tmp_path / "people.csv", "seen")
    job = ended(traced.context, job_of(traced.context, "seen"))
    root = trace_of(job.job_id)
    spans = spans_of(traced, job, root.trace_id)
    (whole,) = [span for span in spans if not span.parent]
    assert (whole.service, whole.name, whole.span_id) == ("muster-control-plane", "audience job", root.span_id)
    assert (whole.attributes["muster.job"], whole.attributes["muster.state"]) == (job.job_id, "READY")
    below = children(spans, root.span_id)
    stages = ("queue", "verify", "import", "materialise", "publish")
    assert {("muster-control-plane", stage) for stage in stages} <= below.keys()
    functions = ("RegisterImport", "VerifyFile", "ImportToKafka", "BeginAwait", "PublishVersion", "Notify")
    assert {("muster-function", name) for name in functions} <= below.keys()
    assert below["muster-control-plane", "reconcile"] >= 1
    by_name = {span.name: span for span in spans}
    assert_path_through_kafka(spans, by_name["ImportToKafka"])
    assert children(spans, by_name["PublishVersion"].span_id) == {("muster-function", "commit version"): 1}
    assert {span.parent for span in spans} - {span.span_id for span in spans} == {""}
    assert all(span.start_ns <= span.end_ns and not span.error for span in spans)
    assert SECRET not in traced.collector.text()
    assert "people.csv" not in traced.collector.text()


def test_a_request_takes_its_job_into_the_trace_that_it_names(traced: Traced, tmp_path: Path) -> None:
    (tmp_path / "large.csv").write_text("user_id\n" + "".join(f"user-{n}\n" for n in range(500)))  # runs in tasks
    context, parent = traced.context, TraceContext(trace_id="5" * 32, span_id="6" * 16)
    context.s3.client().create_bucket(Bucket=SOURCES)
    context.objects.put_file(tmp_path / "large.csv", SOURCES, "large.csv")
    url = urlsplit(context.settings.api_url)
    with closing(http.client.HTTPConnection("127.0.0.1", url.port, timeout=60)) as connection:
        headers = {
            "Authorization": f"Bearer {(context.settings.home / TOKEN_FILE).read_text().strip()}",
            "Content-Type": "application/json",
            "Idempotency-Key": "k1",
            "traceparent": str(parent),
        }
        body = {"source": f"s3://{SOURCES}/large.csv", "audience": "large"}
        connection.request("POST", f"/v1/tenants/{TENANT}/imports", json.dumps(body), headers)
        answer = connection.getresponse()
        started, request_id = json.loads(answer.read()), answer.headers["X-Request-Id"]
    assert answer.status == 202, started
    job = ended(context, until(lambda: context.jobs.find(JobId(started["job"])), "the job"))
    spans = spans_of(traced, job, parent.trace_id)
    by_name = {span.name: span for span in spans}
    request, whole = by_name["start_import"], by_name["audience job"]
    assert (request.service, request.parent) == ("muster-api", parent.span_id)
    assert request.attributes["muster.request_id"] == request_id
    assert request.attributes["http.response.status_code"] == "202"
    assert (whole.parent, whole.span_id) == (request.span_id, trace_of(job.job_id).span_id)
    tasks = {("muster-task", "task verify"), ("muster-task", "task import")}
    assert tasks <= children(spans, whole.span_id).keys()
    assert_path_through_kafka(spans, by_name["task import"])
    logs = (context.settings.home / "logs").glob("*.log")
    texts = [line for log in logs for line in log.read_text().splitlines() if line.startswith("{")]
    lines = [json.loads(line) for line in texts if job.job_id in line]
    of_job = [line for line in lines if line.get("job") == job.job_id]
    assert {line.get("trace_id") for line in of_job} == {parent.trace_id}
    assert {line.get("request_id") for line in of_job} == {request_id}
