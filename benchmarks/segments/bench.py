"""Rules over a stream: Muster compared with a Faust agent and a Kafka Streams application with the same rule.

The other two get the same kind of shop as single JSON events, with fewer events and proportionally fewer users: only
their rate matters.
"""

import json
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from benchmarks.kafka_streams import running
from benchmarks.measure import KIB, Measured, Result, best_of
from benchmarks.publish_bench import new_topic
from benchmarks.segments import fold, latency, topics
from benchmarks.segments.events import BEGIN_US, SPAN_US, Messages, user_ids, write_events, write_profiles
from benchmarks.segments.worker import whole_worker
from benchmarks.setting import Setting

GOAL_FAUST: Final = 100.0
GOAL_STREAMS: Final = 4.0
GOAL_SINGLES: Final = 1.0
GOAL_RULES: Final = 0.25  # 49 more rules take at most four times as long
GOAL_SINGLES_RULES: Final = 0.5
GOAL_LATENCY_S: Final = 1.0
FAUST_EVENTS, STREAMS_EVENTS, SINGLE_EVENTS = 100_000, 2_000_000, 2_000_000
"""At most this many events, with the same share of the users."""
STREAMS_THREADS: Final = 2
TIMES: Final = 3
"""The N of the first rule."""
STATE_BYTES: Final = 200 + 16 * TIMES
RESTART_S: Final = 10
BEFORE_SHARE: Final = 4
"""The checkpoint covers one event in this many; all users have a profile."""
MISSED: Final = 1_000_000
MISSED_US: Final = 60 * 1_000_000
"""Events since the checkpoint, within one minute, as checkpoints are written every minute: about 16,000 per second."""
TIMEOUT_S: Final = 1800
WORKER: Final = "muster's worker, 1 rule"
SINGLES: Final = "muster's worker, single JSON events"
FAUST, STREAMS, ONE = "Faust agent, Table per user", "Kafka Streams, RocksDB", "fold, 1 rule"


def run(setting: Setting) -> list[Result]:
    """Run the same rule on the same broker everywhere; then, without a broker, more rules, the state and a restart."""
    users = user_ids(setting.users)
    events = write_events(setting.scratch / "events", users, setting.events)
    profiles = write_profiles(setting.scratch / "profiles", users)
    return [*_with_a_broker(setting, events), *_without(setting, events, profiles)]


def _with_a_broker(setting: Setting, events: Messages) -> list[Result]:
    bootstrap, partitions = setting.settings.kafka_bootstrap, setting.settings.partitions
    faust = _faust(setting, bootstrap, partitions)
    streams = _kafka_streams(setting, bootstrap, partitions)
    topic = new_topic(bootstrap, 1)
    topics.send_chunks(bootstrap, topic, events)
    core = best_of(setting.repeat, fold.fold_topic, bootstrap, topic, new_topic(bootstrap, 1), events)
    users = user_ids(setting.users)
    few, some = _share(setting, SINGLE_EVENTS)
    singles, of_few = whole_worker(some, few, 1, setting.scratch, single=True)
    several, _ = whole_worker(some, few, setting.rules, setting.scratch, single=True)
    waits = [
        _latency(setting, "light load", 0),
        _latency(setting, "half of its rate", singles.rows / singles.wall_s / 2),
    ]
    worker, members = whole_worker(users, setting.events, 1, setting.scratch)
    many, of_many = whole_worker(users, setting.events, setting.rules, setting.scratch)
    return [
        faust,
        streams,
        *_compared("consumer and fold, 1 rule", core, "chunks in a topic, changes out"),
        *_compared(WORKER, worker, f"with its archive; {members:,} members"),
        Result(
            benchmark="segments",
            label=SINGLES,
            best=singles,
            baseline=STREAMS,
            goal=GOAL_SINGLES,
            note=f"with its archive; {few:,} JSON events, {of_few:,} members",
        ),
        Result(
            benchmark="segments",
            label=f"... with {setting.rules} rules",
            best=several,
            baseline=SINGLES,
            goal=GOAL_SINGLES_RULES,
        ),
        *waits,
        Result(
            benchmark="segments",
            label=f"muster's worker, {setting.rules} rules",
            best=many,
            baseline=WORKER,
            goal=GOAL_RULES,
            note=f"{of_many:,} members of all",
        ),
    ]


def _latency(setting: Setting, load: str, others: float) -> Result:
    """From an event's producer to the membership change."""
    seconds, rate = latency.latencies(setting.settings, others)
    return Result(
        benchmark="segments",
        label=f"latency of a change, {load}",
        best=Measured(rows=len(seconds), wall_s=sum(seconds), cpu_s=0.0, peak_bytes=0),
        target=f"p99 < {GOAL_LATENCY_S:g} s",
        met=bool(np.percentile(seconds, 99) < GOAL_LATENCY_S),
        note=f"{latency.shown(seconds)}; beside {rate:,.0f} other events/s",
    )


def _compared(label: str, best: Measured, note: str) -> list[Result]:
    return [
        Result(benchmark="segments", label=label, best=best, baseline=baseline, goal=goal, note=note)
        for baseline, goal in ((FAUST, GOAL_FAUST), (STREAMS, GOAL_STREAMS))
    ]


def _without(setting: Setting, events: Messages, profiles: Messages) -> list[Result]:
    one, of_one = _folded(setting, events, profiles, 1)
    many, of_many = _folded(setting, events, profiles, setting.rules)
    checkpoint = setting.scratch / "checkpoint"
    users = user_ids(setting.users)
    some = write_events(setting.scratch / "before", users, max(setting.events // BEFORE_SHARE, 1))
    best_of(1, fold.keep, some, setting.rules, profiles, checkpoint)
    begin_us = BEGIN_US + SPAN_US
    missed = write_events(setting.scratch / "missed", users, MISSED, begin_us=begin_us, span_us=MISSED_US)
    restart = best_of(setting.repeat, fold.restart, checkpoint, missed)
    each = of_one["state_bytes"] / of_one["users"]
    bytes_of_many = of_many["state_bytes"] / of_many["users"]
    label = f"fold, {setting.rules} rules"
    return [
        Result(benchmark="segments", label=ONE, best=one, note=_said(of_one)),
        Result(benchmark="segments", label=label, best=many, baseline=ONE, goal=GOAL_RULES, note=_said(of_many)),
        Result(
            benchmark="segments",
            label="state, 1 rule",
            best=one,
            target=f"< {STATE_BYTES} B a user",
            met=each < STATE_BYTES,
            note=f"{each:.0f} B a user; with {setting.rules} rules {bytes_of_many:.0f} B",
        ),
        Result(
            benchmark="segments",
            label=f"restart, {setting.rules} rules",
            best=restart,
            target=f"< {RESTART_S} s",
            met=restart.wall_s < RESTART_S,
            note=f"checkpoint of {checkpoint.stat().st_size / 1e6:.0f} MB, then {missed.rows:,} events",
        ),
    ]


def _folded(setting: Setting, events: Messages, profiles: Messages, rules: int) -> tuple[Measured, dict[str, int]]:
    kept = setting.scratch / f"outcome-{rules}.json"
    prepare = partial(fold.prepare, rules, profiles)
    best = best_of(setting.repeat, fold.fold_file, events, kept, prepare=prepare)
    outcome: dict[str, int] = json.loads(kept.read_text(encoding="ascii"))
    return best, outcome


def _said(outcome: dict[str, int]) -> str:
    return f"{outcome['entered']:,} entered, {outcome['left']:,} left"


def _faust(setting: Setting, bootstrap: str, partitions: int) -> Result:
    events, users = _share(setting, FAUST_EVENTS)
    topic, changes = (new_topic(bootstrap, partitions) for _ in range(2))
    topics.send_json(bootstrap, topic, users, events)
    arguments = (bootstrap, topic, changes, str(partitions), str(events), str(setting.scratch))
    before = _children_s()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.segments.faust_agent", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the agent ended with {done.returncode}: {done.stderr[-2000:]}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIB
    return _other(FAUST, done.stdout, _children_s() - before, peak)


def _kafka_streams(setting: Setting, bootstrap: str, partitions: int) -> Result:
    events, users = _share(setting, STREAMS_EVENTS)
    topic, changes = (new_topic(bootstrap, partitions) for _ in range(2))
    topics.send_json(bootstrap, topic, users, events)
    classes: Path = setting.scratch / "classes"
    running.compile_to(classes)
    ran = running.run(classes, bootstrap, topic, changes, events, setting.scratch / "kafka-streams", STREAMS_THREADS)
    return _other(STREAMS, ran.said, ran.cpu_s, ran.peak_bytes)


def _share(setting: Setting, most: int) -> tuple[int, pa.StringArray]:
    events = min(setting.events, most)
    return events, user_ids(max(setting.users * events // setting.events, 1))


def _other(label: str, said: str, cpu_s: float, peak_bytes: int) -> Result:
    """A result from the last line of a program's output. Processor time includes the start, seconds do not."""
    outcome: dict[str, Any] = json.loads(next(line for line in reversed(said.splitlines()) if line.startswith("{")))
    best = Measured(rows=outcome["events"], wall_s=outcome["seconds"], cpu_s=cpu_s, peak_bytes=peak_bytes)
    note = f"{outcome['events']:,} JSON events, {outcome['entered']:,} entered, {outcome['left']:,} left"
    return Result(benchmark="segments", label=label, best=best, note=note)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
