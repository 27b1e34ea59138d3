"""Lag, members and rates as the control plane has sampled them: series for plots, and what holds now."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from orchestration.access.pages import Record
from orchestration.catalog.samples import SampleStore, TopicSample
from orchestration.platform.clock import iso
from orchestration.records.workers import Samples, Series

SAMPLE_MS: Final = 10_000
MAX_POINTS: Final = 360
"""Of one series; an hour in steps of ten seconds."""


def step_ms(span_ms: int) -> int:
    """The shortest step, in whole samples, that divides a span into at most `MAX_POINTS`."""
    return -(-span_ms // (MAX_POINTS * SAMPLE_MS)) * SAMPLE_MS


def series(store: SampleStore, *, span_ms: int, now_ms: int) -> Samples:
    """The last `span_ms` as columns of equal length, None where nothing was sampled.

    Element i of a column covers the `step_s` seconds from `first_at` + i * `step_s`.
    """
    step = step_ms(span_ms)
    last = now_ms - now_ms % step
    first = last - (-(-span_ms // step) - 1) * step
    count = (last - first) // step + 1
    by_topic: dict[tuple[str, str], dict[int, TopicSample]] = defaultdict(dict)
    for one in store.since(first - step, step_ms=step):
        by_topic[one.group, one.topic][(one.at_ms - first) // step] = one
    items = [_series(group, topic, found, count) for (group, topic), found in sorted(by_topic.items())]
    return Samples(first_at=iso(first), step_s=step // 1000, items=items)


def _series(group: str, topic: str, found: Mapping[int, TopicSample], count: int) -> Series:
    points = [found.get(index) for index in range(-1, count)]
    rates = [_rates(*pair) for pair in pairwise(points)]
    return Series(
        group=group,
        topic=topic,
        members=[None if one is None else one.members for one in points[1:]],
        lag=[None if one is None else one.lag for one in points[1:]],
        acknowledged_per_s=[rate for rate, _ in rates],
        sent_per_s=[rate for _, rate in rates],
    )


def _rates(before: TopicSample | None, now: TopicSample | None) -> tuple[float | None, float | None]:
    """Messages a second that were acknowledged and sent. None without a sample before, and for a topic made again."""
    if before is None or now is None:
        return None, None
    gained, seconds = (
        (now.acknowledged - before.acknowledged, now.sent - before.sent),
        (now.at_ms - before.at_ms) / 1000,
    )
    if min(gained) < 0 or seconds <= 0:
        return None, None
    return gained[0] / seconds, gained[1] / seconds


def present_workers(store: SampleStore, *, since_ms: int = 0) -> Mapping[str, Record]:
    """The members of the groups of workers, as of the newest sample of each group that has one since then."""
    found: dict[str, Record] = {}
    for group in (one for one in store.groups() if one.at_ms >= since_ms):
        for one in group.workers:
            worker = dict(one)
            found["/".join(str(worker[name]) for name in ("group", "host", "worker", "pid"))] = worker
    return found


def present_lag(store: SampleStore) -> Mapping[str, Record]:
    """The newest sample of each group in each of its topics, with the lag of every partition."""
    groups = store.groups()
    oldest = min((group.at_ms for group in groups), default=0)
    samples: dict[tuple[str, str], list[TopicSample]] = defaultdict(list)
    for one in store.since(oldest - SAMPLE_MS, step_ms=SAMPLE_MS):
        samples[one.group, one.topic].append(one)
    found: dict[str, Record] = {}
    for group in groups:
        for topic, partitions in sorted(group.lag.items()):
            record = _present(samples[group.group, topic], group.at_ms)
            found[f"{group.group}/{topic}"] = {
                "group": group.group,
                "topic": topic,
                **record,
                "partitions": list(partitions),
                "as_of": iso(group.at_ms),
            }
    return found


def _present(samples: Sequence[TopicSample], at_ms: int) -> Record:
    by_time = {one.at_ms: one for one in samples}
    now = by_time.get(at_ms)
    acknowledged, sent = _rates(by_time.get(at_ms - SAMPLE_MS), now)
    return {
        "members": None if now is None else now.members,
        "lag": None if now is None else now.lag,
        "acknowledged_per_s": acknowledged,
        "sent_per_s": sent,
    }
