"""The steps of ExportAudience without an engine: real handlers, catalog, lake and S3; executions are a dictionary.

`Exports.run` plays the state machine: it calls the handler of the state named in the view.
"""

import json
from datetime import datetime
from typing import Any

from connectors.storage.listing import list_objects
from orchestration.catalog.records import Audience, Export
from orchestration.catalog.references import ref_of
from orchestration.composition.context import Context
from orchestration.entrypoints import export_handlers
from orchestration.kinds.export.request import ExportRequest
from orchestration.operations.audiences import expire
from orchestration.platform.clock import fresh_id
from orchestration.workflow.engine import EXPORT_MACHINE
from schemas.columns import RowSchema
from schemas.ids import AudienceName, JobId, TenantName
from schemas.manifest import ExportFormat
from segmentation.export_jobs import ENDED
from segmentation.versions import Expired
from tests.fakes.workflow import InMemoryWorkflow
from tests.integration.lake.support import AT, BUCKET, Parts, new_id, request

ACME = TenantName("acme")
HANDLER_OF = {"REGISTERED": "plan_export", "FINISHING": "finish_export"}


class Exports:
    """Handlers on one catalog and one lake, with an audience `vip`."""

    def __init__(self, context: Context, workflow: InMemoryWorkflow) -> None:
        self.context = context
        self.workflow = workflow
        context.audiences.add_tenant(ACME, 1)
        self.vip = self.audience("vip")

    def audience(self, name: str) -> Audience:
        return self.context.audiences.ensure(ACME, AudienceName(name), new_id=fresh_id(), now_ms=1)

    def publish(
        self, *users: str, order: str = "1", audience: Audience | None = None, published_at: datetime = AT
    ) -> int:
        """Publish a new version; returns its number."""
        ref = ref_of(audience or self.vip)
        rows = [{"user_id": user} for user in users]
        parts = Parts(self.context.s3).write(ref, new_id(), rows, RowSchema(), partitions=4)
        outcome = self.context.versions.publish(request(ref, parts, order, partitions=4, published_at=published_at))
        return int(outcome.version)  # type: ignore[union-attr]  # published

    def place(self) -> str:
        return f"s3://{BUCKET}/exports/{new_id()}"

    def request(self, **changes: Any) -> ExportRequest:
        files = not str(changes.get("to", "")).startswith("kafka:")
        given: dict[str, Any] = {
            "export_id": fresh_id(),
            "tenant": "acme",
            "audience": "vip",
            "to": self.place(),
            "format": ExportFormat(format="jsonl" if files else "parquet"),
            "target_bytes": 1,  # makes each partition a separate group
        }
        return ExportRequest(**{**given, **changes})

    def register(self, request: ExportRequest | None = None, **changes: Any) -> Export:
        """Call RegisterExport in an execution named like the export, which is then running."""
        request = request or self.request(**changes)
        execution = self.context.engine.execution_arn(request.export_id, EXPORT_MACHINE)
        self.workflow.statuses[execution] = "RUNNING"
        view = self.call("register_export", input={"export": request.as_record()}, execution=execution)
        return self.context.exports.get(JobId(str(view["export_id"])))

    def call(self, handler: str, **event: Any) -> dict[str, Any]:
        function: Any = getattr(export_handlers, handler)
        return dict(function(json.loads(json.dumps(event)), None))

    def step(self, export: Export, handler: str, **more: Any) -> dict[str, Any]:
        """Call a handler in the execution of the export."""
        execution = self.context.exports.get(export.job_id).execution
        return self.call(handler, export_id=export.job_id, execution=execution, **more)

    def run(self, export: Export, until: str | None = None) -> Export:
        """Continue an export until it has ended, or is in the state `until`."""
        for _ in range(10):
            export = self.context.exports.get(export.job_id)
            if export.state == until or export.state in ENDED:
                return export
            try:
                if export.state == "WRITING":
                    self.write(export)
                    self.step(export, "finish_export")
                else:
                    self.step(export, HANDLER_OF[export.state])
            except Exception as exc:
                if type(exc).__name__ in {"RetriableError", "UnavailableError"}:
                    raise
                failure = {"Error": type(exc).__name__, "Cause": json.dumps({"errorMessage": str(exc)})}
                self.step(export, "mark_export_failed", failure=failure)
        raise AssertionError(f"export {export.job_id} is still {export.state}")

    def write(self, export: Export) -> None:
        """Do the work of the Map: write every group that is not written."""
        view = self.call("register_export", input={"resume": export.job_id}, execution=export.execution)
        for group in view["groups"]:
            self.step(export, "write_export_group", number=group["number"])

    def expire(self, audience: Audience, *, versions: int, days: int) -> Expired:
        """Expire old versions of an audience."""
        c = self.context
        return expire(c.audiences, c.jobs, c.versions, audience, versions=versions, days=days)

    def at(self, state: str, **changes: Any) -> Export:
        """A new export in a given state."""
        export = self.register(**changes)
        if state == "FINISHING":
            self.write(self.run(export, until="WRITING"))
            self.context.exports.move(export.job_id, "FINISHING", now_ms=1)
        export = self.run(export, until=state)
        assert export.state == state
        return export

    def files(self, to: str) -> list[str]:
        """Names of the objects at a destination."""
        prefix = to.removeprefix(f"s3://{BUCKET}/") + "/"
        found = list_objects(self.context.s3.client(), BUCKET, prefix)
        return sorted(entry.key.removeprefix(prefix) for entry in found)

    def users(self, to: str) -> list[str]:
        """Users in the files of the manifest; fails if the destination has other files."""
        manifest = self.manifest(to)
        assert self.files(to) == sorted(["manifest.json", *(file["key"] for file in manifest["files"])])
        lines = [line for file in manifest["files"] for line in self.body(to, file["key"]).splitlines()]
        return sorted(json.loads(line)["user_id"] for line in lines)

    def manifest(self, to: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body(to, "manifest.json"))
        return found

    def body(self, to: str, key: str) -> bytes:
        answer = self.context.s3.client().get_object(Bucket=BUCKET, Key=f"{to.removeprefix(f's3://{BUCKET}/')}/{key}")
        return answer["Body"].read()

    def held(self, *, audience: Audience | None = None) -> bool:
        """True if a version of the audience is leased."""
        table = self.context.versions._tables.find(ref_of(audience or self.vip))  # type: ignore[attr-defined]
        return table is not None and any(tag.startswith("held-") for tag in table.metadata.refs)
