"""Runs of bytes without meaning to a parser, compared sixteen at a time."""

from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

RUN_BYTES: Final = 16


@intrinsic
def _is_run(_context: Any, d: Any, _at: Any, _bound: Any) -> Any:
    """True if all bytes `d[_at : _at + RUN_BYTES]` are above `_bound`; the range must be inside the array.

    It does not locate the first other byte: the loop that follows looks at single bytes anyway.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        run = ir.VectorType(ir.IntType(8), RUN_BYTES)
        lanes = ir.VectorType(ir.IntType(32), RUN_BYTES)
        bits = ir.IntType(RUN_BYTES)
        data = make_array(signature.args[0])(context, builder, arguments[0]).data  # type: ignore[no-untyped-call]  # numba's own
        start = builder.bitcast(builder.gep(data, [arguments[1]]), run.as_pointer())
        first = builder.insert_element(ir.Constant(run, ir.Undefined), arguments[2], ir.IntType(32)(0))
        bounds = builder.shuffle_vector(first, first, ir.Constant(lanes, None))  # the bound in every lane
        others = builder.icmp_unsigned("<=", builder.load(start, align=1), bounds)
        return builder.icmp_unsigned("==", builder.bitcast(others, bits), bits(0))

    return types.boolean(d, types.intp, types.uint8), generate


is_run = cast("Callable[[npt.NDArray[np.uint8], int, int], bool]", _is_run)
"""The signature for compiled code: the compiler passes the context."""
