"""The workers' consumer group: members, generations, assignments, session timeouts. Stale commits are refused."""

from dataclasses import dataclass, field

from connectors.kafka.log_offsets import PartitionKey
from schemas.topics import WORKER_GROUP
from tests.simulation.log import Broker, unavailable

SESSION_S = 30.0


@dataclass
class Group:
    """The coordinator. A member that joins or leaves begins a new generation, in which all members must join again."""

    broker: Broker
    topics: tuple[str, ...]
    name: str = WORKER_GROUP
    together: bool = False  # a partition has the same owner in all topics
    generation: int = 1
    joined: set[str] = field(default_factory=set)
    known: dict[str, int] = field(default_factory=dict)  # time of the last heartbeat
    assigned: dict[str, list[PartitionKey]] = field(default_factory=dict)
    began_us: int = 0

    @property
    def _now_us(self) -> int:
        return self.broker.ports.kernel.now_us

    def rebalance(self) -> None:
        """Make all members join again."""
        self.generation += 1
        self.joined = set()
        self.assigned = {}
        self.began_us = self._now_us

    def heartbeat(self, member: str, generation: int) -> bool:
        """True if the member still belongs to this generation and may keep its assignment."""
        self._evict()
        if member not in self.known or generation != self.generation or not self.assigned:
            return False
        self.known[member] = self._now_us
        return True

    def join(self, member: str) -> int:
        """Join the group. Returns the generation that the member now belongs to."""
        self._evict()
        if member not in self.known or self.assigned:
            self.rebalance()
        self.known[member] = self._now_us
        self.joined.add(member)
        return self.generation

    def assignment(self, member: str, generation: int) -> list[PartitionKey] | None:
        """The partitions of the member. None until all members have joined, or when it has to join again."""
        self._evict()
        if generation != self.generation or member not in self.joined:
            return None
        self.known[member] = self._now_us
        if not self.assigned:
            if self._now_us - self.began_us > SESSION_S * 1e6:
                self.known = {m: at for m, at in self.known.items() if m in self.joined}
            if self.joined >= self.known.keys():
                self.assigned = self._assignments(sorted(self.joined))
        return self.assigned.get(member)

    def committed(self, place: PartitionKey) -> int | None:
        """The committed offset. None if there is none yet."""
        return self.broker.committed.get((self.name, place))

    def commit(self, generation: int, place: PartitionKey, offset: int) -> bool:
        """Commit an offset. False if the generation is over."""

        def act() -> bool:
            if generation != self.generation:
                return False
            self.broker.committed[self.name, place] = offset
            return True

        return self.broker.ports.call("log", f"commit {offset} of {place[0]}/{place[1]}", act, unavailable)

    def _assignments(self, members: list[str]) -> dict[str, list[PartitionKey]]:
        of_topics = [[(topic, p) for p in range(self.broker.partitions)] for topic in self.topics]
        shared = of_topics if self.together else [[place for places in of_topics for place in places]]
        return {m: [one for places in shared for one in places[i :: len(members)]] for i, m in enumerate(members)}

    def _evict(self) -> None:
        gone = {m for m, at in self.known.items() if self._now_us - at > SESSION_S * 1e6}
        if gone:
            self.known = {m: at for m, at in self.known.items() if m not in gone}
            self.rebalance()


class GroupView:
    """The control plane's view of the group (`connectors.kafka.worker_group.WorkerGroup`)."""

    def __init__(self, group: Group, name: str) -> None:
        self.name = name
        self._group = group

    def members(self) -> int:
        return len(self._group.known)

    def committed(self) -> dict[PartitionKey, int]:
        broker = self._group.broker
        return {place: broker.committed.get((WORKER_GROUP, place), -1) for place in self._places()}

    def ends(self) -> dict[PartitionKey, int]:
        return {place: len(self._group.broker.log(*place)) for place in self._places()}

    def _places(self) -> list[PartitionKey]:
        return [(topic, p) for topic in self._group.topics for p in range(self._group.broker.partitions)]
