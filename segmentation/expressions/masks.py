"""Evaluates filters over Arrow columns to masks of rows. The same answer as `sql`, for every value."""

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Final, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segmentation.expressions.nodes import And, Comparison, Filter, Not, OneOf, Operator, Or, Presence

Mask = npt.NDArray[np.bool_]
ColumnValues = Callable[[str], pa.Array]
"""The values of a column by its name: n of them, of the filter's type."""

_COMPARE: Final[dict[Operator, Callable[[pa.Array, pa.Scalar], pa.Array]]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def mask_of(tree: Filter, column: ColumnValues) -> Mask:
    """bool[n]: true or false for every row, never unknown."""
    match tree:
        case Not(operand):
            return ~mask_of(operand, column)
        case And(operands):
            return _joined(np.logical_and, operands, column)
        case Or(operands):
            return _joined(np.logical_or, operands, column)
        case Presence(column=name, present=present):
            values = column(name)
            return _plain(values.is_valid() if present else values.is_null())
        case Comparison():
            values = column(tree.column)
            scalar = pa.scalar(tree.value, values.type)
            if pa.types.is_boolean(values.type):  # Arrow does not order booleans
                values, scalar = values.cast(pa.int8()), scalar.cast(pa.int8())
            return _plain(_COMPARE[tree.operator](values, scalar)) & _comparable(values)
        case OneOf():
            # Compare value by value: Arrow's set lookup tells 0.0 from -0.0.
            each = (Comparison(column=tree.column, type=tree.type, operator="=", value=v) for v in tree.values)
            return _joined(np.logical_or, each, column)
        case _:
            assert_never(tree)


def _joined(join: np.ufunc, operands: Iterable[Filter], column: ColumnValues) -> Mask:
    return reduce(join, (mask_of(operand, column) for operand in operands))


def _comparable(values: pa.Array) -> Mask | np.bool_:
    """NaN compares false with everything, even with `!=`."""
    return ~_plain(pc.is_nan(values)) if pa.types.is_floating(values.type) else np.True_


def _plain(flags: pa.Array) -> Mask:
    """The mask with null as false."""
    plain: Mask = flags.fill_null(False).to_numpy(zero_copy_only=False)  # noqa: FBT003
    return plain
