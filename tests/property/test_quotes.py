"""Quotes of any file: the whole is the sum of its stages, and more rows, bytes or members never take less."""

from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.capacity_model import undivided
from orchestration.platform.settings import Settings
from orchestration.quoting.deployment import Deployment
from orchestration.quoting.prices import load_prices
from orchestration.quoting.quote import Quote, quote
from orchestration.quoting.rates import shipped_rates
from orchestration.quoting.stages import Quoting
from orchestration.quoting.work import Work
from schemas.columns import ImportKind, ImportMode

PRICES = load_prices()
RATES = shipped_rates()
rows = st.integers(0, 10**11)
works = st.builds(
    Work,
    rows=rows,
    bytes=st.integers(0, 10**13),
    kind=st.sampled_from(get_args(ImportKind)),
    mode=st.sampled_from(get_args(ImportMode)),
    base_members=rows,
    copied=st.booleans(),
)
deployments = st.builds(
    lambda workers, partitions, replicas, charged: Deployment(
        settings=Settings(s3_endpoint="", workers=workers, partitions=partitions, replication_factor=replicas),
        traffic_charged=charged,
    ),
    st.integers(0, 64),
    st.integers(1, 256),
    st.integers(1, 5),
    st.booleans(),
)


def of(work: Work, deployment: Deployment) -> Quote:
    return quote(work, deployment, RATES, PRICES)


@given(works, deployments)
def test_quote_is_the_sum_of_its_stages(work: Work, deployment: Deployment) -> None:
    quoted = of(work, deployment)
    assert quoted.seconds == sum(stage.seconds for stage in quoted.stages)
    assert abs(quoted.usd.total - sum(stage.usd.total for stage in quoted.stages)) <= 1e-9 * (1 + quoted.usd.total)
    assert all(stage.seconds >= stage.start_s >= 0 and stage.usd.total >= 0 for stage in quoted.stages)
    assert 0 <= quoted.paid_anyway.total <= quoted.usd.total


def in_tasks(work: Work, deployment: Deployment) -> tuple[float, float]:
    """Seconds and USD with every stage in a task: a change of compute target would make start and pace jump."""
    plans = undivided("task")
    quoting = Quoting(work=work, deployment=deployment, rates=RATES, prices=PRICES, plans=plans)
    stages = quoting.stages()
    return sum(stage.seconds for stage in stages), sum(stage.usd.total for stage in stages)


def no_less(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return all(after >= before * (1 - 1e-9) for before, after in zip(one, other, strict=True))


@given(works, deployments, st.integers(0, 10**10))
def test_more_rows_of_the_same_length_never_take_or_cost_less(work: Work, deployment: Deployment, more: int) -> None:
    fewer = replace(work, bytes=work.rows * 43)
    larger = replace(work, rows=work.rows + more, bytes=(work.rows + more) * 43)
    assert no_less(in_tasks(fewer, deployment), in_tasks(larger, deployment))
    assert of(larger, deployment).kafka_gb >= of(fewer, deployment).kafka_gb


@given(works, deployments, st.integers(0, 10**10))
def test_a_larger_base_never_takes_or_costs_less(work: Work, deployment: Deployment, more: int) -> None:
    larger = replace(work, base_members=work.base_members + more)
    assert no_less(in_tasks(work, deployment), in_tasks(larger, deployment))


@given(works, deployments, st.integers(1, 64))
def test_more_workers_never_take_longer(work: Work, deployment: Deployment, more: int) -> None:
    settings = deployment.settings
    one = of(work, deployment)
    other = of(work, replace(deployment, settings=settings.with_(workers=deployment.workers + more)))
    assert other.seconds <= one.seconds + 1e-9 * one.seconds


@given(works, deployments)
def test_job_is_feasible_only_without_obstacles(work: Work, deployment: Deployment) -> None:
    record = of(work, deployment).as_record()
    assert record["can_end"] is (record["warnings"] == [])
