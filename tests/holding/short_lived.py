"""Brokers of tests live for minutes, so the JVM's second compiler costs more than it saves."""

from typing import Any, Final

from tests.holding.patching import when_imported

ONE_COMPILER: Final = "-XX:TieredStopAtLevel=1"


def install() -> None:
    """Use one compiler: two thirds of the processor time for a broker that is started and used briefly."""
    when_imported("orchestration.local.kafka.broker", _one_compiler)


def _one_compiler(broker: Any) -> None:
    broker.JVM_FLAGS = (*broker.JVM_FLAGS, ONE_COMPILER)
