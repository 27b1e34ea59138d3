"""The image's entry point and the parts that it serves."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from connectors.kafka import worker_group
from connectors.kafka.groups import ConsumerGroup, GroupMember
from orchestration.entrypoints import feeder, health, serving
from orchestration.entrypoints.container import KERNELS, TERMINATED, USAGE_EXIT_CODE, main, writable_kernels
from orchestration.local import seaweedfs
from orchestration.local.home import SIGN_OF_LIFE, Home
from orchestration.local.ports import Ports
from orchestration.local.status import PartState, PartStatus, take_lock, write_status
from orchestration.platform.settings import Settings
from orchestration.platform.worker_identity import WorkerIdentity, claim_identity, client_id
from schemas.errors import UserError


def test_writable_kernels_stay_in_place(tmp_path: Path) -> None:
    env = {KERNELS: str(tmp_path)}
    writable_kernels(env)
    assert env == {KERNELS: str(tmp_path)}


def test_read_only_kernels_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image" / "schemas").mkdir(parents=True)
    (tmp_path / "image" / "schemas" / "kernel.nbi").write_bytes(b"code")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    for _ in range(2):
        env = {KERNELS: str(tmp_path / "image")}
        writable_kernels(env)
        assert (Path(env[KERNELS]) / "schemas" / "kernel.nbi").read_bytes() == b"code"
    assert len(list((tmp_path / "tmp").iterdir())) == 1


@pytest.mark.parametrize("arguments", [[], [""], ["sh", "-c", "true"], ["python"]])
def test_unknown_word_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == USAGE_EXIT_CODE
    assert "lambda, task, worker" in capsys.readouterr().err


def test_sigterm_ends_a_program_that_does_not_expect_it(tmp_path: Path) -> None:
    (tmp_path / "awslambdaric.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(600)\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[4]}"}
    command = [sys.executable, "-m", "orchestration.entrypoints.container", "lambda", "handler"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == TERMINATED


def test_sigterm_interrupts_copying_the_kernels(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from orchestration.entrypoints import container
container.writable_kernels = lambda env: os.kill(os.getpid(), signal.SIGTERM)
sys.exit(container.main(["lambda", "handler"]))
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, check=False, timeout=60)
    assert done.returncode == TERMINATED


@pytest.mark.parametrize("part", ["worker", "segment-worker", "relay"])
def test_member_of_this_container_is_found_whatever_address_the_broker_sees(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = client_id("relay") if part == "relay" else str(claim_identity(tmp_path, part, "1"))
    members = [GroupMember(client_id="elsewhere/worker-1/7", host="10.0.0.7", partitions=())]
    group = ConsumerGroup(state="Stable", members=members)
    monkeypatch.setattr(worker_group, "describe_group", lambda *_: group)
    assert not health.CHECKS[part](Settings())
    members.append(GroupMember(client_id=own, host="203.0.113.9", partitions=()))  # of a NAT gateway
    assert health.CHECKS[part](Settings())


def test_a_feeder_that_no_longer_looks_is_unhealthy(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    assert not health.CHECKS["feeder"](settings)
    look = feeder._Look(lambda: 7, settings.home / SIGN_OF_LIFE)
    assert look() == 7
    assert health.CHECKS["feeder"](settings)
    past = time.time() - health.ALIVE_S - 1
    os.utime(settings.home / SIGN_OF_LIFE, (past, past))
    assert not health.CHECKS["feeder"](settings)


def test_engine_works_only_with_all_workers_that_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def part(name: str, state: PartState) -> PartStatus:
        return PartStatus(name=name, state=state, pid=1, ports=(), restarts=0, since="", log="")

    home = Home(path=tmp_path)
    here = [str(WorkerIdentity(host=socket.gethostname(), part="worker", number=n, pid=n)) for n in (1, 2)]
    members = [GroupMember(client_id=one, host="10.0.0.7", partitions=()) for one in here]
    group = ConsumerGroup(state="Stable", members=members)
    monkeypatch.setattr(worker_group, "describe_group", lambda *_: group)
    monkeypatch.setattr(health, "responds", lambda *_, **__: True)
    settings = Settings(home=tmp_path)
    ready = [part("engine", PartState.READY), part("worker-1", PartState.READY), part("worker-2", PartState.READY)]
    assert not health.engine_works(settings), "there is no supervisor"
    lock = take_lock(home.lock_file)
    assert lock is not None
    try:
        for last, works in ((PartState.OFF, True), (PartState.STARTING, False)):
            write_status(home, (*ready, part("segment-worker-1", last)))
            assert health.engine_works(settings) is works
        write_status(home, tuple(ready))
        del members[0]
        assert not health.engine_works(settings), "the broker does not know the other worker"
    finally:
        os.close(lock)


def test_unknown_part_is_named() -> None:
    with pytest.raises(
        UserError, match="serve has no part wroker; use setup, s3, engine, relay, feeder, api, worker, segment-worker"
    ):
        serving.run("wroker", Settings())


def test_health_check_loads_only_the_clients_it_uses() -> None:
    clients = "{'boto3', 'botocore', 'confluent_kafka'}"
    script = f"import sys, orchestration.entrypoints.health; print({clients} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"


def test_only_the_gateway_of_s3_listens_beyond_loopback() -> None:
    command = seaweedfs.command(Ports(), "0.0.0.0")
    assert [argument for argument in command if "0.0.0.0" in argument] == ["-s3.ip.bind=0.0.0.0"]
