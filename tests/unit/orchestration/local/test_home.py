"""The first start of a home: settings, secret, ports, permissions."""

import socket
import stat
from dataclasses import astuple
from pathlib import Path

import pytest

from orchestration.local.home import Home, initialise
from orchestration.local.kafka.users import ensure_passwords
from orchestration.local.ports import Ports
from schemas.errors import UserError
from schemas.kafka_address import KafkaAddress


def test_first_start_creates_a_secret_that_later_starts_keep(tmp_path: Path) -> None:
    home = Home(path=tmp_path / "home")

    first = initialise(home, {}, free_ports=False)
    second = initialise(home, {}, free_ports=False)

    assert len(first.s3_secret_key.reveal()) == 40
    assert first == second
    assert stat.S_IMODE(home.settings_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_default_ports_are_the_documented_ones(tmp_path: Path) -> None:
    home = Home(path=tmp_path)

    settings = initialise(home, {}, free_ports=False)

    assert Ports.load(home.ports_file, settings) == Ports()
    assert (Ports().kafka, Ports().s3, Ports().engine, Ports().api) == (19092, 18333, 18180, 18480)


def test_free_ports_are_remembered_and_all_different(tmp_path: Path) -> None:
    home = Home(path=tmp_path)

    first = Ports.load(home.ports_file, initialise(home, {}, free_ports=True))
    second = Ports.load(home.ports_file, initialise(home, {}, free_ports=True))

    assert first == second
    assert len(set(astuple(first))) == len(astuple(first))
    assert first != Ports()


def test_home_of_the_previous_release_gets_the_documented_service_port(tmp_path: Path) -> None:
    home = Home(path=tmp_path)
    initialise(home, {}, free_ports=True)
    for file in (home.settings_file, home.ports_file):  # as that release wrote them
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if not line.startswith(("api", "api_url"))))
    kept = home.settings_file.read_text()

    settings = initialise(home, {}, free_ports=False)

    assert settings.api_url == "http://127.0.0.1:18480"
    assert Ports.load(home.ports_file, settings).api == 18480
    assert home.settings_file.read_text() == kept


@pytest.mark.parametrize("part", ["kafka", "s3_filer"])
def test_free_ports_are_chosen_again_after_a_conflict(tmp_path: Path, part: str) -> None:
    home = Home(path=tmp_path)
    taken = initialise(home, {}, free_ports=True)
    before = Ports.load(home.ports_file, taken)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", getattr(before, part)))
        listener.listen()
        assert initialise(home, {}, free_ports=False) == taken
        settings = initialise(home, {}, free_ports=True)
        after = Ports.load(home.ports_file, settings)
    assert not set(astuple(before)) & set(astuple(after))
    assert settings.s3_endpoint == f"http://127.0.0.1:{after.s3}"
    assert settings.api_url == f"http://127.0.0.1:{after.api}"
    assert settings.s3_secret_key == taken.s3_secret_key
    assert initialise(home, {}, free_ports=False) == settings


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "127.0.0.1:19092"),
        ('kafka_bootstrap = "localhost:21000"\n', "localhost:21000"),
        ('kafka_bootstrap = "sasl_plaintext://127.0.0.1:21000?mechanism=SCRAM-SHA-512"\n', "127.0.0.1:21000"),
    ],
)
def test_address_of_an_earlier_release_gets_a_logon_at_the_start(tmp_path: Path, before: str, after: str) -> None:
    home = Home(path=tmp_path)
    home.make()
    home.settings_file.write_text(before)
    ensure_passwords(home.kafka)
    initialise(home, {}, free_ports=False)
    assert before in home.settings_file.read_text()

    for _ in range(2):
        address = KafkaAddress.parse(initialise(home, {}, free_ports=False, broker=True).kafka_bootstrap)
        assert (address.servers, address.protocol, address.mechanism) == (after, "sasl_plaintext", "SCRAM-SHA-512")
        assert address.credentials == str(tmp_path / "kafka" / "muster.json")


def test_manual_settings_are_kept(tmp_path: Path) -> None:
    home = Home(path=tmp_path)
    home.settings_file.write_text('partitions = 3\ns3_secret_key = "mine"\n')

    settings = initialise(home, {}, free_ports=True)

    assert (settings.partitions, settings.s3_secret_key.reveal()) == (3, "mine")


def test_an_address_that_is_not_loopback_is_refused(tmp_path: Path) -> None:
    home = Home(path=tmp_path)
    settings = initialise(home, {"MUSTER_KAFKA_BOOTSTRAP": "kafka.example.com:9092"}, free_ports=False)

    with pytest.raises(UserError, match=r"kafka_bootstrap points to kafka\.example\.com:9092") as refused:
        Ports.load(home.ports_file, settings)

    assert refused.value.code == "NOT_LOOPBACK"


def test_impossible_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UserError, match=f"cannot use {tmp_path}/file/home as home directory") as refused:
        initialise(Home(path=tmp_path / "file" / "home"), {}, free_ports=False)

    assert refused.value.code == "HOME_NOT_WRITABLE"


def test_the_number_of_partitions_of_the_first_start_is_remembered(tmp_path: Path) -> None:
    home = Home(path=tmp_path)
    initialise(home, {"MUSTER_PARTITIONS": "3"}, free_ports=False)

    assert initialise(home, {}, free_ports=False).partitions == 3


def test_home_keeps_whether_workers_come_on_demand(tmp_path: Path) -> None:
    home = Home(path=tmp_path)

    def least(*, on_demand: bool | None) -> tuple[int, int]:
        settings = initialise(home, {}, free_ports=False, on_demand=on_demand)
        return settings.min_workers, settings.min_segment_workers

    assert [least(on_demand=one) for one in (None, True, None, False, None)] == [
        (-1, -1),
        (0, 0),
        (0, 0),
        (-1, -1),
        (-1, -1),
    ]
