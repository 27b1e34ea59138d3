"""Kafka in Docker: one broker, or three on their own network. `KAFKA_IMAGE` names the image."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

# The Ryuk image cannot be pulled everywhere, and the test that starts a container here removes it.
os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from tests.servers.ports import free_port
from tests.waiting import until

IMAGE: Final = os.environ.get("KAFKA_IMAGE", "muster-kafka:local")
STARTED: Final = re.compile(r"Kafka Server started")
START_TIMEOUT_S: Final = 600


@dataclass(frozen=True)
class Cluster:
    """Running brokers; node ids count from 1."""

    bootstrap: str
    containers: tuple[Any, ...]
    network: Any
    """The network (of the Docker SDK) that only the brokers share."""

    def node(self, node_id: int) -> Any:
        """A broker's container (of the Docker SDK)."""
        return self.containers[node_id - 1].get_wrapped_container()

    @contextmanager
    def cut_off(self, node_id: int) -> Iterator[None]:
        """Isolate a running broker from the network inside the block; afterwards it is back under its address."""
        broker = self.node(node_id)
        self.network.disconnect(broker)
        try:
            yield
        finally:
            self.network.connect(broker, aliases=[f"kafka{node_id}"])

    def leader(self, topic: str, partition: int = 0) -> int:
        """Node id of the leader of a partition."""
        return int(self._topic(topic).partitions[partition].leader)

    def in_sync(self, topic: str) -> bool:
        """True if every replica of a topic is in sync."""
        try:
            partitions = self._topic(topic).partitions.values()
        except KafkaException:
            return False
        return all(len(p.isrs) == len(p.replicas) for p in partitions)

    def await_in_sync(self, *topics: str, timeout_s: float = 300) -> None:
        """Wait until every replica of the topics is in sync."""
        until(
            lambda: all(self.in_sync(topic) for topic in topics), f"replicas of {topics} in sync", timeout_s=timeout_s
        )

    def _topic(self, name: str) -> Any:
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "reconnect.backoff.max.ms": 500, "log_level": 2})
        return admin.list_topics(name, timeout=10).topics[name]


@contextmanager
def kafka_cluster(brokers: int, heap: str = "-Xmx256m") -> Iterator[Cluster]:
    """Start brokers, published on loopback. With three, a message is acknowledged once two have it."""
    voters = ",".join(f"{i}@kafka{i}:9093" for i in range(1, brokers + 1))
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        containers, addresses = [], []
        for node_id in range(1, brokers + 1):
            port = free_port()
            container = DockerContainer(IMAGE, hostname=f"kafka{node_id}")
            container.with_envs(**_environment(node_id, port, voters, brokers), KAFKA_HEAP_OPTS=heap)
            published: dict[str, Any] = container.ports
            published["9092/tcp"] = ("127.0.0.1", port)  # with_bind_ports would publish it on every address
            container.with_network(network).with_network_aliases(f"kafka{node_id}")
            container.with_name(f"muster-test-kafka{node_id}-{uuid.uuid4().hex[:6]}")
            stack.callback(container.stop)
            container.start()
            containers.append(container)
            addresses.append(f"127.0.0.1:{port}")
        for container in containers:
            LogMessageWaitStrategy(STARTED).with_startup_timeout(START_TIMEOUT_S).wait_until_ready(container)
        docker = containers[0].get_docker_client().client
        cluster = Cluster(
            bootstrap=",".join(addresses), containers=tuple(containers), network=docker.networks.get(network.id)
        )
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "reconnect.backoff.max.ms": 500, "log_level": 2})
        until(lambda: _known(admin) == brokers, f"a cluster of {brokers} brokers", timeout_s=START_TIMEOUT_S)
        yield cluster


def _known(admin: AdminClient) -> int:
    """The brokers that a broker knows. 0 if none answers."""
    try:
        return len(admin.list_topics(timeout=5).brokers)
    except KafkaException:
        return 0


def _environment(node_id: int, port: int, voters: str, brokers: int) -> dict[str, str]:
    in_sync = str(max(1, brokers - 1))
    return {
        "CLUSTER_ID": "5L6g3nShT-eMCtK--X86sw",
        "KAFKA_NODE_ID": str(node_id),
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": voters,
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": "HOST://:9092,INTERNAL://:19092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"HOST://127.0.0.1:{port},INTERNAL://kafka{node_id}:19092",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "HOST:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "INTERNAL",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": str(brokers),
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": str(brokers),
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": in_sync,
        "KAFKA_MIN_INSYNC_REPLICAS": in_sync,
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        # The default of 50 partitions each would cost the first round trip seconds.
        "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "3",
        "KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "3",
        # A killed broker may register again after this; Kafka's own default is 9 s. With 2 s, three brokers that
        # start beside other containers fenced each other, and topics could not be created.
        "KAFKA_BROKER_SESSION_TIMEOUT_MS": "6000",
        "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "1000",
        # Kafka's own 1 and 2 s make a slow start one election after another.
        "KAFKA_CONTROLLER_QUORUM_ELECTION_TIMEOUT_MS": "3000",
        "KAFKA_CONTROLLER_QUORUM_FETCH_TIMEOUT_MS": "6000",
        "KAFKA_CONTROLLER_QUORUM_REQUEST_TIMEOUT_MS": "6000",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
