import socket
import sys
from typing import Any

import pytest

from connectors.lake import spark_session as spark_sessions
from connectors.lake.spark_session import _check_version, spark_faults, spark_session
from orchestration.kinds.segment_meaning import Meanings
from orchestration.platform.settings import Settings
from orchestration.readers.questions import CountUsers
from schemas.errors import FatalError, MusterError, RetriableError, UserError

REMOTE = "sc://cluster:15002/;token=secret"


class RefusedError(Exception):
    __module__ = "pyspark.errors.exceptions.connect"


def translated(text: str) -> MusterError:
    with pytest.raises(MusterError) as caught, spark_faults(REMOTE):
        raise RefusedError(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "class_", "code"),
    [
        ("[TABLE_OR_VIEW_NOT_FOUND] The table `x` cannot be found", FatalError, "SPARK_TABLE_UNKNOWN"),
        ("Cannot find snapshot with ID 7", RetriableError, "SPARK_UNAVAILABLE"),
        ("StatusCode.UNAVAILABLE: no route", RetriableError, "SPARK_UNAVAILABLE"),
        ("Job aborted due to stage failure", FatalError, "SPARK_FAILED"),
    ],
)
def test_errors_say_where_and_what(text: str, class_: type[MusterError], code: str) -> None:
    found = translated(text)
    assert (type(found), found.code) == (class_, code)
    assert "sc://cluster:15002" in str(found)
    assert "secret" not in str(found)


def test_client_of_another_release_is_refused() -> None:
    _check_version(REMOTE, "4.0.3", "4.0.1")
    with pytest.raises(
        UserError, match=r"sc://cluster:15002 runs Spark 3\.5\.6, the client here is of 4\.0\.1"
    ) as caught:
        _check_version(REMOTE, "3.5.6", "4.0.1")
    assert caught.value.code == "SPARK_VERSION"


def test_cluster_that_says_nothing_is_named_within_the_time_of_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CountUsers.limit_s > 2 * spark_sessions.CONNECT_S
    monkeypatch.setattr(spark_sessions, "CONNECT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote = f"sc://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RetriableError, match=f"{remote}: it takes the connection") as caught, spark_session(remote):
            pass
    assert caught.value.code == "SPARK_UNAVAILABLE"


def test_missing_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(UserError, match="pip install") as caught, spark_session(REMOTE):
        pass
    assert caught.value.code == "NO_SPARK_CLIENT"


def test_without_a_cluster_spark_is_refused() -> None:
    nothing: Any = None
    meanings = Meanings(
        segments=nothing, audiences=nothing, activations=nothing, versions=nothing, archive=nothing, queries=nothing
    )
    with pytest.raises(UserError, match="spark_remote") as caught:
        _ = meanings.spark
    assert caught.value.code == "NO_SPARK"


@pytest.mark.parametrize(
    ("given", "match"),
    [({"ENGINE": "presto"}, "is not duckdb or spark"), ({"ENGINE": "spark"}, "needs the setting spark_remote"),
     ({"SPARK_REMOTE": "http://cluster"}, "not like sc://")],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_refused(tmp_path: Any, given: dict[str, str], match: str) -> None:
    environment = {"MUSTER_HOME": str(tmp_path), **{f"MUSTER_{name}": value for name, value in given.items()}}
    with pytest.raises(UserError, match=match):
        Settings.load(environment)
