"""The connection to a service of Muster."""

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from airflow.sdk import BaseHook

import muster

if TYPE_CHECKING:
    from airflow.sdk import Connection

DEFAULT_CONNECTION: Final = "muster_default"

CANCEL_S: Final = 10.0
"""How long a cancellation waits until its job is registered."""


class MusterHook(BaseHook):
    """Makes clients of the service that a connection names: its host is the URL, its password a token.

    `note`: on whose behalf, for the audit trail.
    """

    conn_name_attr: ClassVar[str] = "muster_conn_id"
    default_conn_name: ClassVar[str] = DEFAULT_CONNECTION
    conn_type: ClassVar[str] = "muster"
    hook_name: ClassVar[str] = "Muster"

    def __init__(self, muster_conn_id: str = DEFAULT_CONNECTION, *, note: str = "") -> None:
        super().__init__()
        self.muster_conn_id = muster_conn_id
        self._note = note

    def access(self) -> muster.Access:
        """Where the service is, with the token. Raises `ApiError` BAD_URL, NO_ACCESS."""
        return access_of(self.get_connection(self.muster_conn_id))

    async def access_async(self) -> muster.Access:
        """As `access`, for triggers."""
        return access_of(await self.aget_connection(self.muster_conn_id))

    def get_conn(self) -> muster.Client:
        """A client, which closes its connection as a context manager. Raises as `access`."""
        return muster.Client(self.access(), note=self._note)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the service takes the token, and what it says."""
        try:
            with self.get_conn() as client:
                found = client.me()
        except muster.ApiError as exc:
            return False, str(exc)
        return True, f"the service knows you as {found['name']}"

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The fields of the connection in Airflow's form."""
        return {
            "hidden_fields": ["schema", "login", "port", "extra"],
            "relabeling": {"host": "URL", "password": "Token"},
            "placeholders": {"host": "https://muster.example"},
        }


def access_of(connection: "Connection") -> muster.Access:
    """What a connection names: a URL as its host, or a host name, to which https is added."""
    if not connection.host or not connection.password:
        raise muster.ApiError(
            "NO_ACCESS",
            f"the connection {connection.conn_id} needs the URL of the service as its host and a token as its password",
            kind="user",
        )
    url = connection.host if "://" in connection.host else f"https://{connection.host}"
    return muster.Access(url=f"{url}:{connection.port}" if connection.port else url, token=connection.password)


def cancel(client: muster.Client, tenant: str, job: str) -> None:
    """Cancel a job, which may be so young that it is not registered yet. Raises `ApiError`."""
    until = time.monotonic() + CANCEL_S
    while True:
        try:
            client.cancel(tenant, job)
        except muster.ApiError as exc:
            if exc.code != "UNKNOWN_JOB" or time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return
