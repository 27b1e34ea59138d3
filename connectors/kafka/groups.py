"""Consumer groups as their coordinator describes them.

Asked with aiokafka: librdkafka's admin client kills the process (a failed assertion) when its connection to the
coordinator breaks meanwhile: https://github.com/confluentinc/librdkafka/issues/4605.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.aiokafka_logon import aiokafka_options, connections_closed
from connectors.kafka.log_offsets import PartitionKey

STABLE: Final = "Stable"
_PAUSE_S: Final = 0.2
_ASKING: Final = ContextVar("_ASKING", default=False)
for _name in ("aiokafka", "aiokafka.conn"):
    # Outages are retried and then raised; one line per try and dead broker would flood the log.
    logging.getLogger(_name).addFilter(lambda _: not _ASKING.get())


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """A consumer. `host` is the address at which the broker sees it; `partitions` are empty during a rebalance."""

    client_id: str
    host: str
    partitions: Sequence[PartitionKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerGroup:
    """A group. One that does not exist has no members."""

    state: str
    members: Sequence[GroupMember]

    @property
    def serving(self) -> bool:
        """Whether members own the partitions: False without members and while the group rebalances."""
        return bool(self.members) and self.state == STABLE


def describe_group(bootstrap: str, group: str, timeout_s: float) -> ConsumerGroup:
    """As `describe_groups`."""
    return describe_groups(bootstrap, (group,), timeout_s)[group]


def describe_groups(bootstrap: str, groups: Sequence[str], timeout_s: float) -> Mapping[str, ConsumerGroup]:
    """Ask the coordinators, over connections of its own. Not for a thread with a running event loop.

    Outages are retried until `timeout_s`. Raises `KafkaException`; `FatalError` LOGON_REFUSED, BROKER_NOT_TRUSTED.
    """
    return asyncio.run(_described(bootstrap, groups, timeout_s))


async def _described(bootstrap: str, groups: Sequence[str], timeout_s: float) -> Mapping[str, ConsumerGroup]:
    _ASKING.set(True)  # in the context of this task and of those that it starts
    last: Exception | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await _asked(bootstrap, groups)
                except (errors.KafkaError, OSError) as exc:
                    if isinstance(exc, errors.KafkaError) and not exc.retriable:
                        raise _translated(exc) from exc
                    last = exc
                await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        what = f"describing {', '.join(groups)} took {timeout_s:g} s" if last is None else str(last)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, what)) from last  # noqa: SLF001  # public, as in `errors`


async def _asked(bootstrap: str, groups: Sequence[str]) -> Mapping[str, ConsumerGroup]:
    async with connections_closed():
        client = AIOKafkaAdminClient(**aiokafka_options(bootstrap))
        try:
            await client.start()
            return {group: await _of(client, group) for group in groups}
        finally:
            await client.close()


async def _of(client: AIOKafkaAdminClient, group: str) -> ConsumerGroup:
    (response,) = await client.describe_consumer_groups([group])  # aiokafka misreads an answer about several
    (found,) = response.groups
    code, _, state, _, _, members = found[:6]
    if code:
        raise errors.for_code(code)(f"describing the group {group}")
    return ConsumerGroup(state=state, members=tuple(_member(*one[:5]) for one in members))


def _member(_id: str, client_id: str, host: str, _metadata: bytes, assignment: bytes) -> GroupMember:
    assigned = ConsumerProtocolMemberAssignment.decode(assignment).partitions() if assignment else ()
    partitions = tuple((one.topic, one.partition) for one in assigned)
    return GroupMember(client_id=client_id, host=host.removeprefix("/"), partitions=partitions)


def _translated(exc: Any) -> KafkaException:
    """Codes of brokers are the same in both libraries."""
    return KafkaException(KafkaError(getattr(exc, "errno", KafkaError._FAIL), str(exc)))  # noqa: SLF001
