"""A slice depends only on its tree, changes with every change, and reaches every test in the end."""

from tests.faults.kinds import KINDS
from tests.prove.rotation import earlier
from tests.rotation.choice import CONTAINERS_S, IMPORTS, STACK_S, STACKS, TESTS_S, slice_in_containers, slice_of

FIT = {f"tests/test_a.py::test_{n}": 20.0 + n for n in range(40)}
PROPERTIES = ["tests/property/test_a.py", "tests/property/test_b.py"]
TESTS = FIT | {"tests/test_a.py::test_long": 3 * TESTS_S}


def test_same_tree_gives_the_same_slice() -> None:
    assert slice_of("4b825dc", TESTS, PROPERTIES) == slice_of("4b825dc", dict(reversed(TESTS.items())), PROPERTIES)


def test_another_tree_gives_another_slice() -> None:
    one, other = slice_of("4b825dc", TESTS, PROPERTIES), slice_of("4b825dd", TESTS, PROPERTIES)
    assert set(one.tests) != set(other.tests)
    assert one.first_schedule != other.first_schedule
    assert one.imports != other.imports
    assert one.seed != other.seed


def test_a_slice_stays_within_its_seconds() -> None:
    for tree in map(str, range(200)):
        tests = slice_of(tree, TESTS, PROPERTIES).tests
        assert len(tests) == len(set(tests))
        assert sum(TESTS[test] for test in tests) <= TESTS_S


def test_starting_a_stack_counts_towards_the_slice() -> None:
    tests = {f"{STACKS[n % 2]}test_a.py::test_{n}": 1.0 for n in range(1000)}
    for tree in map(str, range(20)):
        assert len(slice_of(tree, tests, PROPERTIES).tests) == TESTS_S - 2 * STACK_S


def test_every_fitting_test_and_fault_runs_within_two_hundred_changes() -> None:
    slices = [slice_of(str(tree), TESTS, PROPERTIES) for tree in range(200)]
    assert {test for each in slices for test in each.tests} == set(FIT)
    assert {planned.kind for each in slices for planned in each.imports} == set(KINDS)
    assert {each.properties for each in slices} == set(PROPERTIES)
    assert all(len(each.imports) == IMPORTS for each in slices)


def test_container_tests_rotate_with_the_tree() -> None:
    slices = [slice_in_containers(str(tree), TESTS) for tree in range(200)]
    assert slices[7] == slice_in_containers("7", dict(reversed(TESTS.items())))
    assert all(sum(TESTS[test] for test in tests) <= CONTAINERS_S for tests in slices)
    assert {test for tests in slices for test in tests} == set(FIT)


def test_rows_of_the_page_are_kept_without_its_header() -> None:
    section = "| date | tree |\n|---|---|\n| 2026-11-27 | 4b825dc | 3 |\n| 2026-11-26 | 0dd89e3 | 4 |\n"
    assert earlier(section) == [("2026-11-27", "4b825dc", "3"), ("2026-11-26", "0dd89e3", "4")]
