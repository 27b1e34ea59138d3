"""Waits for a job in the triggerer, so that no worker does."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

import muster
from muster_airflow.hook import MusterHook, cancel

SETTLED_S: Final = 10.0
"""How long after its start a trigger fires at the earliest.

The worker that has deferred a task reports its own end up to `workers.min_heartbeat_interval` (5 s) later. If the task
runs again by then, Airflow 3.3 takes that report for the end of the second run, and retries a task that has failed for
good.
"""


class MusterJobTrigger(BaseTrigger):
    """Fires when a job has ended, however it did, or when the service does not answer for `muster.following.OUTAGE_S`.

    The event has the job, and in the second case `error`, the arguments of an `ApiError`.
    """

    def __init__(self, *, muster_conn_id: str, tenant: str, job: str, note: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.muster_conn_id, self.tenant, self.job, self.note = muster_conn_id, tenant, job, note

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`."""
        arguments = {
            "muster_conn_id": self.muster_conn_id,
            "tenant": self.tenant,
            "job": self.job,
            "note": self.note,
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """See `BaseTrigger.run`."""
        error, settled = None, asyncio.create_task(asyncio.sleep(SETTLED_S))
        try:
            with await self._client() as client:
                await client.wait_async(self.job)
        except muster.ApiError as exc:
            error = {"code": exc.code, "message": exc.message, "kind": exc.kind, "request_id": exc.request_id}
        await settled
        yield TriggerEvent({"job": self.job, "error": error})  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the job whose task someone has cleared or marked."""
        with await self._client() as client:
            await asyncio.to_thread(cancel, client, self.tenant, self.job)

    async def _client(self) -> muster.Client:
        return muster.Client(await MusterHook(self.muster_conn_id).access_async(), note=self.note)
