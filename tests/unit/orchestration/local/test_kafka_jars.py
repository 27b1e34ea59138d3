"""The lock file of the broker's jars."""

from orchestration.local.kafka.jars import locked_jars


def test_every_jar_of_kafka_itself_has_the_version_of_the_broker() -> None:
    jars = locked_jars()

    assert {jar.version for jar in jars if jar.group == "org.apache.kafka"} == {"4.3.1"}
    assert "kafka-clients" in {jar.artifact for jar in jars}
    assert all(len(jar.sha256) == 64 for jar in jars)
