"""Every operation, as every role, with whatever its document allows and forbids: no 500, the declared form, refusals.

`make test` sends a slice, always the same; `make test-faults` sends many times as much.
"""

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, Response

from tests.fakes.asgi import AsgiClient
from tests.fakes.tenants import World
from tests.fuzzing.requests_of_the_document import Fuzzer, operations, schema
from tests.unit.orchestration.api.operations import OPERATIONS
from tests.unit.orchestration.api.test_isolation import CALLERS

EVERYTHING = "deployment-admin"
SLICE, ALL, OF_A_SEED = 2, 150, 3
each_operation = pytest.mark.parametrize("name", list(OPERATIONS))


def examples(number: int, **given_: Any) -> settings:
    return settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        **given_,
    )


def callers() -> st.SearchStrategy[str]:
    """Every second case comes from an administrator: others are often refused first."""
    return st.one_of(st.just(EVERYTHING), st.sampled_from(CALLERS))


def takes_anything(name: str) -> bool:
    """Whether a request can break the document: it has a body or a query. Any text may stand in a path or header."""
    record = OPERATIONS[name].record
    return "requestBody" in record or any(one["in"] == "query" for one in record.get("parameters", ()))


def fuzz(name: str, mode: GenerationMode, number: int, fuzzer: Fuzzer) -> None:
    """Send `number` cases. Each finds the world as it was."""

    def send(case: Case[Any], caller: str, quarter: int) -> None:
        fuzzer.world.reset()
        if quarter:
            fuzzer.make_real(case, caller)
        fuzzer.check(case, fuzzer.call(case, caller))

    run: Callable[[], None] = given(
        case=operations()[name].as_strategy(generation_mode=mode),
        caller=callers(),
        quarter=st.integers(0, 3),
    )(examples(number)(send))
    run()


@pytest.fixture
def fuzzer(world: World, client: AsgiClient) -> Fuzzer:
    return Fuzzer(world=world, client=client)


def follow_links(fuzzer: Fuzzer, *, seeds: range, steps: int) -> set[str]:
    """Run scenarios along the links of the document, some of each seed; returns the operations that answered well.

    Hypothesis demands that the same choices lead to the same ones next, but these follow from answers, with fresh ids
    and times. Short runs seldom make the same choices twice.
    """
    base: Any = schema().as_state_machine()
    answered: set[str] = set()
    fuzzer.world.reset()
    everything = fuzzer.rights(EVERYTHING)

    class Scenario(base):  # type: ignore[misc]  # made at run time
        def setup(self) -> None:
            fuzzer.world.reset()

        def before_call(self, case: Case[Any]) -> None:
            if fuzzer.rights(EVERYTHING) != everything:  # it has revoked its own token, or taken its own roles
                fuzzer.world.reset()
            fuzzer.make_for_others(case, EVERYTHING)

        def call(self, case: Case[Any], **_: Any) -> Response:
            return fuzzer.call(case, EVERYTHING)

        def validate_response(self, response: Response, case: Case[Any], **_: Any) -> None:
            fuzzer.check(case, response)
            if response.status_code < 300:
                answered.add(str(case.operation.definition.raw["operationId"]))

    for number in seeds:
        hypothesis.seed(number)(Scenario).run(settings=examples(OF_A_SEED, stateful_step_count=steps))
    return answered


@each_operation
def test_documented_requests_are_answered_as_declared(name: str, fuzzer: Fuzzer) -> None:
    fuzz(name, GenerationMode.POSITIVE, SLICE, fuzzer)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if takes_anything(name)])
def test_undocumented_requests_are_refused(name: str, fuzzer: Fuzzer) -> None:
    fuzz(name, GenerationMode.NEGATIVE, SLICE, fuzzer)


def test_operations_accept_results_of_others(fuzzer: Fuzzer) -> None:
    assert follow_links(fuzzer, seeds=range(4), steps=6) & {name for one in OPERATIONS.values() for name in one.links}


@pytest.mark.faults("hundreds of requests of each kind, and long scenarios", seconds=15)
@each_operation
def test_many_requests_are_answered_as_declared(name: str, fuzzer: Fuzzer) -> None:
    fuzz(name, GenerationMode.POSITIVE, ALL, fuzzer)
    if takes_anything(name):
        fuzz(name, GenerationMode.NEGATIVE, ALL, fuzzer)


@pytest.mark.faults("long scenarios along the links of the document", seconds=25)
@pytest.mark.parametrize("tenth", range(10))
def test_long_scenarios_along_the_links(fuzzer: Fuzzer, tenth: int) -> None:
    follow_links(fuzzer, seeds=range(10 * tenth, 10 * tenth + 10), steps=12)
