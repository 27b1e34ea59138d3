"""Children that process untrusted input are confined: real ones try what they may not do."""

import logging
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors import sandbox
from connectors.confinement import PACKAGE_ROOT
from connectors.lake import sql
from connectors.lake.sql import Resolved, query
from connectors.sandbox import Layer, Plan, describe_layers, landlock_abi, missing_layers, ruleset
from connectors.sources import fork_server
from connectors.sources.fork_server import PARSERS
from connectors.sources.limits import ParseLimits
from connectors.sources.parsing import open_parsed
from connectors.storage.access import S3Access
from orchestration.operations import doctor
from orchestration.platform.settings import Settings
from schemas.errors import FatalError
from schemas.import_spec import ImportSpec
from tests.integration.lake.support import limits
from tests.unit.probing import names, report, script, targets, unconfined

Probe = Callable[[str], dict[str, str]]
EVERYTHING = set(names()) - {"capabilities"}
"""Only root has capabilities."""
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
OTHERS_MAY_REFUSE = {"init"} | ({"trace"} if YAMA.exists() and YAMA.read_text().strip() != "0" else set())
"""Process 1 may belong to another user, and Yama lets a process inspect only processes that it started."""
ROOTS = {"sibling", "trace"} if os.geteuid() == 0 else set()
"""A process without capabilities cannot inspect one that has them."""
NO_NAMESPACES = "sandbox.enter_namespaces = lambda: sandbox.Layer.NAMESPACES\n"


def abi(number: int) -> str:
    return f"sandbox.landlock_abi = lambda: {number}\n"


def done(found: dict[str, str]) -> set[str]:
    assert set(found) == {*EVERYTHING, "capabilities"}
    return {name for name, what in found.items() if what == "done"}


@pytest.fixture
def sibling() -> Iterator[int]:
    """Another process of this user, unrelated to the one that makes the attempts."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def given(tmp_path: Path, sibling: int) -> Iterator[dict[str, object]]:
    folder = tmp_path / "home"
    folder.mkdir()
    with targets(folder, sibling) as found:
        yield found


@pytest.fixture
def patched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Start children of both kinds with a `sitecustomize`."""

    def patch(text: str) -> None:
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(text)
        for environment in (fork_server.PARSER_ENVIRONMENT, sql.SQL_ENVIRONMENT):
            monkeypatch.setitem(environment, "PYTHONPATH", f"{folder}:{PACKAGE_ROOT}")
        PARSERS.stop()
        sql.QUERIES.stop()

    yield patch
    PARSERS.stop()
    sql.QUERIES.stop()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.csv"
    path.write_bytes(b"user_id\na\n")
    return path


@pytest.fixture
def parser(patched: Callable[[str], None], given: dict[str, object], small: Path) -> Probe:
    """Results of all attempts in a parser, with a part of its confinement patched."""

    def go(patch: str) -> dict[str, str]:
        patched(script(given, patch=patch))
        with open_parsed(small, ImportSpec()) as parsed, pytest.raises(FatalError, match="PARSER_FAILED") as raised:
            list(parsed)
        return report(str(raised.value.detail["stderr"]))

    return go


@pytest.fixture
def sql_child(patched: Callable[[str], None], given: dict[str, object], tmp_path: Path) -> Probe:
    """The same for the child of a query."""

    def go(patch: str) -> dict[str, str]:
        patched(script(given, patch=patch))
        s3 = S3Access(endpoint=f"http://127.0.0.1:{given['store']}", region="x", access_key="a", secret_key="b")
        nothing = Resolved(files=[], schema=None)
        with (
            pytest.raises(FatalError, match="SQL_CRASHED") as raised,
            query("select 1", lambda _: nothing, s3=s3, limits=limits(tmp_path), timeout_s=60),
        ):
            pass
        return report(str(raised.value.detail["stderr"]))

    return go


needs_all = pytest.mark.skipif(landlock_abi() < 6, reason="Landlock of Linux 6.12 or newer is not switched on here")


def test_unconfined_process_can_do_everything(given: dict[str, object]) -> None:
    root = {"capabilities"} if os.geteuid() == 0 else set()
    assert done(unconfined(given)) | OTHERS_MAY_REFUSE == EVERYTHING | root


@needs_all
def test_parser_can_do_none_of_it(parser: Probe) -> None:
    assert done(parser("")) == set()


@needs_all
def test_query_child_reaches_only_the_object_store_and_documented_openings(sql_child: Probe) -> None:
    assert done(sql_child("")) == {"store", "udp", "chmod"}


@needs_all
@pytest.mark.parametrize(
    ("without", "possible"),
    [
        (NO_NAMESPACES, {"udp", "chmod"}),
        (abi(5), {"signal_"}),
        (NO_NAMESPACES + abi(5), {"udp", "chmod", "signal_", "abstract"}),
        (NO_NAMESPACES + abi(3), {"udp", "chmod", "signal_", "abstract", "tcp", "store", "bind"}),
        (NO_NAMESPACES + abi(2), {"udp", "chmod", "signal_", "abstract", "tcp", "store", "bind", "truncate"}),
        ("sandbox.PR_SET_NO_NEW_PRIVS = 0\n" + abi(0) + NO_NAMESPACES, EVERYTHING - OTHERS_MAY_REFUSE - ROOTS),
    ],
    ids=["namespaces", "scopes", "both", "TCP", "truncation", "everything"],
)
def test_each_layer_of_a_parser_refuses_something_alone(parser: Probe, without: str, possible: set[str]) -> None:
    assert done(parser(without)) - OTHERS_MAY_REFUSE == possible


def test_namespaces_alone_keep_a_parser_from_network_and_writes(parser: Probe) -> None:
    found = done(parser(abi(0)))
    assert {"passwd", "settings"} <= found
    assert not found & {"tcp", "store", "udp", "abstract", "write", "make", "remove", "truncate", "chmod", "privileges"}


WITHOUT_LANDLOCK = "import connectors.sandbox as sandbox\n" + abi(0)


def test_required_sandbox_gives_no_file_to_an_unconfined_child(patched: Callable[[str], None], small: Path) -> None:
    patched(WITHOUT_LANDLOCK)
    with pytest.raises(FatalError, match="SANDBOX_INCOMPLETE") as raised:
        open_parsed(small, ImportSpec(), ParseLimits(sandbox_required=True))
    assert "files (Landlock, Linux 5.13)" in str(raised.value)
    with open_parsed(small, ImportSpec()) as parsed:
        assert len(list(parsed)) == 1


def test_required_sandbox_runs_no_query_in_an_unconfined_child(patched: Callable[[str], None], tmp_path: Path) -> None:
    patched(WITHOUT_LANDLOCK)
    s3 = S3Access(endpoint="http://127.0.0.1:1", region="x", access_key="a", secret_key="b")
    with (
        pytest.raises(FatalError, match="SANDBOX_INCOMPLETE"),
        query(
            "select 1",
            lambda _: Resolved(files=[], schema=None),
            s3=s3,
            limits=limits(tmp_path),
            timeout_s=60,
            sandbox_required=True,
        ),
    ):
        pass


def test_missing_layers_are_logged_once(
    patched: Callable[[str], None], small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    patched(WITHOUT_LANDLOCK)
    sandbox.warn.cache_clear()
    with caplog.at_level(logging.WARNING, "connectors.sandbox"):
        for _ in range(3):
            with open_parsed(small, ImportSpec()) as parsed:
                list(parsed)
    [message] = [record.getMessage() for record in caplog.records if record.name == "connectors.sandbox"]
    assert "files (Landlock, Linux 5.13)" in message


def test_undroppable_capabilities_are_a_missing_layer() -> None:
    code = (
        "from connectors import sandbox\n"
        "sandbox.LINUX_CAPABILITY_VERSION_3 = 0\n"
        "print(sandbox.Confinement(sandbox.Plan()).apply_to_this_thread().value)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE_ROOT)
    assert Layer.PRIVILEGES in Layer(int(found.stdout))


def test_undroppable_rights_are_known_before_a_file_is_given(patched: Callable[[str], None], small: Path) -> None:
    patched("import connectors.sandbox as sandbox\nsandbox.PR_SET_NO_NEW_PRIVS = 0\n")
    with pytest.raises(FatalError, match=r"SANDBOX_INCOMPLETE.*no_new_privs"):
        open_parsed(small, ImportSpec(), ParseLimits(sandbox_required=True))


@needs_all
def test_required_sandbox_with_all_layers_reads_files(small: Path) -> None:
    with open_parsed(small, ImportSpec(), ParseLimits(sandbox_required=True)) as parsed:
        assert len(list(parsed)) == 1


@needs_all
def test_required_sandbox_with_all_layers_runs_queries(tmp_path: Path) -> None:
    s3 = S3Access(endpoint="http://127.0.0.1:1", region="x", access_key="a", secret_key="b")
    nothing = Resolved(files=[], schema=None)
    with query(
        "select 1",
        lambda _: nothing,
        s3=s3,
        limits=limits(tmp_path),
        timeout_s=60,
        sandbox_required=True,
    ) as answer:
        assert list(answer.rows) == [(1,)]


def test_multithreaded_process_does_not_count_as_confined() -> None:
    code = (
        "import threading, time\n"
        "from connectors.sandbox import Confinement, Plan\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "print(Confinement(Plan()).apply_to_this_thread().value)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE_ROOT)
    assert Layer(int(found.stdout)) == missing_layers(0)


@pytest.mark.parametrize(
    ("missing", "setting", "severity", "text"),
    [
        (Layer(0), "required", "ok", "are confined"),
        (Layer.TCP, "auto", "note", "TCP (Landlock, Linux 6.7)"),
        (Layer.TCP, "required", "wrong", "no file will be read"),
    ],
)
def test_doctor_names_missing_layers(
    monkeypatch: pytest.MonkeyPatch, missing: Layer, setting: str, severity: str, text: str
) -> None:
    monkeypatch.setattr(doctor, "probe", lambda: missing)
    found = doctor.sandbox(Settings(sandbox=setting))
    assert (found.severity, found.subject) == (severity, "sandbox")
    assert text in found.text


@needs_all
def test_probe_finds_the_layers_of_this_system() -> None:
    assert describe_layers(sandbox.probe()) in {"", "network (user namespaces)"}


def test_only_product_packages_of_a_clone_are_readable() -> None:
    secrets = (PACKAGE_ROOT / ".muster" / "settings.toml", Path("/etc/passwd"), Path("/tmp/x"), Path("/proc/1/environ"))
    assert [path for path in sandbox.program_files() if any(secret.is_relative_to(path) for secret in secrets)] == []


PLAN = Plan(readable=(Path("/r"),), writable=(Path("/w"),), ports=(443,))


@pytest.mark.parametrize(
    ("number", "handled", "size", "write", "ports"),
    [
        (1, 0x1FFF, 8, 0x1BE, ()),
        (2, 0x3FFF, 8, 0x1BE, ()),
        (3, 0x7FFF, 8, 0x41BE, ()),
        (4, 0x7FFF, 16, 0x41BE, ((443, 2),)),
        (5, 0xFFFF, 16, 0x41BE, ((443, 2),)),
        (6, 0xFFFF, 24, 0x41BE, ((443, 2),)),
        (7, 0xFFFF, 24, 0x41BE, ((443, 2),)),
        (9, 0x1FFFF, 24, 0x41BE, ((443, 2),)),
        (99, 0x1FFFF, 24, 0x41BE, ((443, 2),)),
    ],
)
def test_rules_use_only_rights_of_their_abi(
    number: int, handled: int, size: int, write: int, ports: tuple[tuple[int, int], ...]
) -> None:
    rules = ruleset(PLAN, number)
    assert rules.paths == ((Path("/r"), 0xC), (Path("/w"), write))
    assert rules.ports == ports
    assert len(rules.attributes) == size
    assert struct.unpack_from("=Q", rules.attributes) == (handled,)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, 4), (1, 3), (2, 3), (3, 2), (4, 1), (5, 1), (6, 0), (7, 0)
    ],
)  # fmt: skip
def test_old_kernel_lacks_later_layers(number: int, words: int) -> None:
    assert len(list(missing_layers(number))) == words
