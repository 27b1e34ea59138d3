"""The error that a call raises, as a value."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from schemas.errors import MusterError

E = TypeVar("E", bound=MusterError)


def raised(error: type[E], act: Callable[[], object]) -> E:
    """The error of that class. Fails if there is none."""
    with pytest.raises(error) as caught:
        act()
    return caught.value


def code_of(error: type[MusterError], act: Callable[[], object]) -> str:
    """The code of that error."""
    return raised(error, act).code
