"""Brokers of tests live for minutes: what the second compiler of the JVM makes of them costs more than it saves."""

from typing import Any, Final

from tests.holding.patching import when_imported

ONE_COMPILER: Final = "-XX:TieredStopAtLevel=1"


def install() -> None:
    """One compiler, two thirds of the processor time of a broker that is started and used a little."""
    when_imported("orchestration.local.kafka.broker", _one_compiler)


def _one_compiler(broker: Any) -> None:
    broker.JVM_FLAGS = (*broker.JVM_FLAGS, ONE_COMPILER)
