"""Imports, exports and queries as tasks."""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from airflow.sdk import BaseOperator, Context, conf
from airflow.sdk.exceptions import AirflowFailException

import muster
from muster_airflow.hook import DEFAULT_CONNECTION, MusterHook, cancel
from muster_airflow.outcomes import failure, refusal
from muster_airflow.request_key import key_after, request_key
from muster_airflow.triggers import MusterJobTrigger

DEFAULT_TENANT: Final = "default"
JOB: Final = "job"
"""The XCom with the id of the job, which is there from its start."""

ROWS: Final = 10_000
"""As many as the service answers at once."""


class MusterJobOperator(BaseOperator):
    """Starts a job and waits for its end, in the triggerer if `deferrable`.

    1. The request has the same key in every try of a task, so that a retry continues the job of an earlier one, whose
       answer may have been lost. If that job ended without success, the retry starts anew.
    2. The result is the receipt. A failure is retried only if another try may succeed (`outcomes`).
    3. A task that is killed cancels its job.

    `options`: further arguments of the client's method, by name. Raises `ValueError` for others.
    """

    def __init__(
        self,
        *,
        tenant: str = DEFAULT_TENANT,
        options: Mapping[str, Any] | None = None,
        muster_conn_id: str = DEFAULT_CONNECTION,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tenant = tenant
        self.options = options or {}
        self.muster_conn_id = muster_conn_id
        self.deferrable = deferrable
        self._access: muster.Access | None = None
        self._job: str | None = None
        self._killed = False
        self._check_options()

    @property
    @abstractmethod
    def method(self) -> Callable[..., Mapping[str, Any]]:
        """The method of the client that starts the job."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The arguments of this method that the operator has as parameters of its own."""

    @abstractmethod
    def result(self, client: muster.Client, found: Mapping[str, Any]) -> dict[str, Any]:
        """The receipt of the job, which is READY."""

    def execute(self, context: Context) -> Any:
        """See `BaseOperator.execute`."""
        instance, note = context["ti"], _note(context)
        request = {"method": self.method.__name__, "tenant": self.tenant, **self._given()}
        key = request_key(
            dag_id=instance.dag_id,
            task_id=instance.task_id,
            run_id=instance.run_id,
            map_index=instance.map_index if instance.map_index is not None else -1,
            request=request,
        )
        try:
            self._access = MusterHook(self.muster_conn_id).access()
            with muster.Client(self._access, note=note) as client:
                job = self._job = self._begin(client, key, earlier_tries=instance.try_number - 1)
                self.log.info("The job is %s", job)
                instance.xcom_push(JOB, job)
                if self._killed:
                    self._cancel(self._access, job)
                if self.deferrable:
                    trigger = MusterJobTrigger(
                        muster_conn_id=self.muster_conn_id, tenant=self.tenant, job=job, note=note
                    )
                    self.defer(trigger=trigger, method_name=self.complete.__name__, timeout=self.execution_timeout)
                return self._finish(client, job, client.wait(job))
        except muster.ApiError as exc:
            raise refusal(exc) from exc

    def complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Continue after the trigger has fired."""
        if event["error"] is not None:
            failed = dict(event["error"])
            error = muster.ApiError(failed.pop("code"), failed.pop("message"), **failed)
            raise refusal(error) from error
        try:
            with MusterHook(self.muster_conn_id, note=_note(context)).get_conn() as client:
                return self._finish(client, event["job"], client.find_job(event["job"]))
        except muster.ApiError as exc:
            raise refusal(exc) from exc

    def on_kill(self) -> None:
        """Cancel the job. If its start has not been answered yet, `execute` does."""
        self._killed = True
        if self._access is not None and self._job is not None:
            self._cancel(self._access, self._job)

    def _check_options(self) -> None:
        if isinstance(self.options, Mapping):  # not the result of another task, which is not known yet
            own = {"self", "key", *self.template_fields}
            known = inspect.signature(self.method).parameters.keys() - own
            if unknown := self.options.keys() - known:
                raise ValueError(
                    f"{type(self).__name__} of task {self.task_id}: unknown options {', '.join(sorted(unknown))}; "
                    f"there are {', '.join(sorted(known))}"
                )

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in {**self.arguments(), **self.options}.items() if value is not None}

    def _begin(self, client: muster.Client, key: str, *, earlier_tries: int) -> str:
        """The job to wait for. Each earlier try has started at most one."""
        for _ in range(earlier_tries):
            job = self._start(client, key)
            if not _ended_in_vain(client, job):
                return job
            key = key_after(key, job)
        return self._start(client, key)

    def _start(self, client: muster.Client, key: str) -> str:
        started = self.method(client, self.tenant, key=key, **self._given())
        return str(started.get("job") or started["export"])

    def _finish(self, client: muster.Client, job: str, found: Mapping[str, Any]) -> dict[str, Any]:
        if (failed := failure(job, found)) is not None:
            raise failed
        return self.result(client, found)

    def _cancel(self, access: muster.Access, job: str) -> None:
        """With a client of its own, since `on_kill` interrupts the other one."""
        try:
            with muster.Client(access) as client:
                cancel(client, self.tenant, job)
        except muster.ApiError as exc:
            self.log.warning("Job %s was not cancelled: %s", job, exc)


class MusterImportOperator(MusterJobOperator):
    """Imports an object, the objects below a prefix, or what a query finds. The result is the receipt of the import."""

    template_fields: Sequence[str] = ("tenant", "audience", "source", "sql", "options")
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "options": "json"}

    def __init__(
        self, *, audience: str | None = None, source: str | None = None, sql: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.audience, self.source, self.sql = audience, source, sql

    @property
    def method(self) -> Callable[..., Mapping[str, Any]]:
        """See `MusterJobOperator.method`."""
        return muster.Client.start_import

    def arguments(self) -> dict[str, Any]:
        """See `MusterJobOperator.arguments`."""
        return {"audience": self.audience, "source": self.source, "sql": self.sql}

    def result(self, client: muster.Client, found: Mapping[str, Any]) -> dict[str, Any]:
        """See `MusterJobOperator.result`."""
        return dict(client.receipt(self.tenant, found["job"]))


class MusterExportOperator(MusterJobOperator):
    """Exports an audience. The result is the export: id, request, and as `outcome` its version, files, rows and digest.

    A downstream task that reads the files verifies them against their manifest.
    """

    template_fields: Sequence[str] = ("tenant", "audience", "to", "options")
    template_fields_renderers: ClassVar[dict[str, str]] = {"options": "json"}

    def __init__(self, *, audience: str, to: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.audience, self.to = audience, to

    @property
    def method(self) -> Callable[..., Mapping[str, Any]]:
        """See `MusterJobOperator.method`."""
        return muster.Client.start_export

    def arguments(self) -> dict[str, Any]:
        """See `MusterJobOperator.arguments`."""
        return {"audience": self.audience, "to": self.to}

    def result(self, client: muster.Client, found: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """See `MusterJobOperator.result`."""
        return {name: found[name] for name in ("export", "audience", "request", "outcome", "finished_at")}


class MusterSqlOperator(BaseOperator):
    """Runs one SELECT. The result is its rows, as a list of objects by column.

    Fails if there are more than `ROWS`, or 4 MiB of them: `MusterImportOperator` builds an audience of any number.
    """

    template_fields: Sequence[str] = ("tenant", "sql")
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}

    def __init__(
        self, *, sql: str, tenant: str = DEFAULT_TENANT, muster_conn_id: str = DEFAULT_CONNECTION, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.sql, self.tenant, self.muster_conn_id = sql, tenant, muster_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """See `BaseOperator.execute`."""
        try:
            with MusterHook(self.muster_conn_id, note=_note(context)).get_conn() as client:
                found = client.query(self.tenant, self.sql, rows=ROWS)
        except muster.ApiError as exc:
            raise refusal(exc) from exc
        if found["truncated"]:
            raise AirflowFailException(
                f"the query has more than {len(found['rows'])} rows, which are too many for an XCom; narrow it, or "
                "build an audience of it with MusterImportOperator"
            )
        columns = [column["name"] for column in found["columns"]]
        return [dict(zip(columns, row, strict=True)) for row in found["rows"]]


def _ended_in_vain(client: muster.Client, job: str) -> bool:
    try:
        state = client.find_job(job)["state"]
    except muster.ApiError as exc:
        if exc.code == "UNKNOWN_JOB":  # not registered yet
            return False
        raise
    return state in muster.FINAL_STATES and state != "READY"


def _note(context: Context) -> str:
    return f"Airflow, {context['ti'].dag_id}.{context['ti'].task_id}"
