"""`pytest -p tests.mutation.plugin` runs tests on the product with the bug that MUSTER_MUTANT names."""

import os

import pytest

from tests.mutation.mutants import MUTANTS
from tests.mutation.patches import Patches


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the bug in. All modules are loaded by now, so that imported names are replaced too."""
    del items
    name = os.environ["MUSTER_MUTANT"]
    next(mutant for mutant in MUTANTS if mutant.name == name).bug(Patches())
