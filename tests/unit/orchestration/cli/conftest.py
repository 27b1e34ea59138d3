"""A home with an empty catalog, for commands that need no stack, and the service on it."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from muster import transport
from orchestration.access.import_orders import ImportOrder
from orchestration.access.owner import ensure_owner_token
from orchestration.api.application import application
from orchestration.api.service import Service
from orchestration.cli import import_commands, remote
from orchestration.cli.following import Submitted
from orchestration.cli.main import main
from orchestration.composition.context import Context
from orchestration.composition.service import Services
from tests.fakes.asgi import AsgiClient, AsgiTransport
from tests.fakes.readers import FakeReaders
from tests.unit.orchestration.notifications.test_notices import make_context

Requested = list[tuple[str, str, dict[str, Any]]]
"""File, target and changed settings of each import."""


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("MUSTER_HOME", str(tmp_path))
    made = make_context(tmp_path)
    yield made
    made.database.close()


@pytest.fixture
def service(context: Context, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """The service of the catalog, in this process; commands use it as the owner of the home."""
    services = Services(context.settings)
    vars(services)["readers"] = FakeReaders({})
    ensure_owner_token(services, context.settings.home)
    made = Service(services=services, hosts=frozenset({"127.0.0.1"}))
    asgi = AsgiClient(application(made))
    monkeypatch.setattr(transport, "HttpTransport", lambda _: AsgiTransport(asgi))
    yield services
    asgi.close()
    made.calls.close()
    services.database.close()


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> Requested:
    """The imports that `muster import` would have started, without a service."""
    said: Requested = []

    def start(wanted: import_commands.Wanted, order: dict[str, Any]) -> str:
        [source] = wanted.sources
        given = ImportOrder(
            source=source, changes=order["settings"], **{n: order[n] for n in ("kind", "audience", "only_columns")}
        )
        said.append((source, given.target, given.overrides))
        return "01jdcz0000000000000000000a"

    monkeypatch.setattr(import_commands, "_start", start)
    monkeypatch.setattr(import_commands, "_registered", lambda job_id: Submitted(job_id=job_id))
    monkeypatch.setattr(remote, "service", nullcontext)
    monkeypatch.setattr(remote, "resolve_tenant", lambda *_: "default")
    return said


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The JSON that a command prints."""
    assert main([*arguments, "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)
