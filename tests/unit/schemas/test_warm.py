import subprocess
import sys

CHECK = """
from datetime import date, datetime, UTC
import pyarrow as pa
from schemas.kernels import hashing
from schemas.columns import Column, RowSchema
from schemas.arrow import ARROW_TYPES, arrow_schema
from schemas.row_digest import PartitionDigests
from schemas.partitioning import partition_users
from schemas.rows import decode_rows, encode_rows
from schemas.warm import warm

KERNELS = ("chain_strings", "chain_words", "murmur2_partitions", "counting_sort", "sum_by_group")
compiled = lambda: {name: len(getattr(hashing, name).signatures) for name in KERNELS}
warm()
before = compiled()
assert before == dict.fromkeys(KERNELS, 1), before
schema = RowSchema(columns=tuple(Column(name="c_" + name, type=name) for name in ARROW_TYPES))
full = {"string": "x", "long": 1, "double": 0.5, "boolean": True, "date": date(1970, 1, 2),
        "timestamp": datetime(1970, 1, 2, tzinfo=UTC)}
values = [full[c.type] for c in schema.columns]
nan = [float("nan") if c.type == "double" else None for c in schema.columns]
for rows in ([["u", *values]], [["u", *values], ["v", *nan]], [["u"] + [None] * 6], []):
    arrays = [pa.array([r[k] for r in rows], f.type) for k, f in enumerate(arrow_schema(schema))]
    batch = pa.RecordBatch.from_arrays(arrays, schema=arrow_schema(schema))
    for form in (batch, batch.slice(1), decode_rows(encode_rows(batch))):
        partition_users(form.column(0), 2)
        PartitionDigests(schema, 2).add(form)
assert compiled() == before, compiled()
"""


def test_warmed_up_kernels_compile_nothing_for_rows() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_cached_kernels_do_not_load_the_compiler() -> None:
    warm = "from schemas.warm import warm; warm()"
    check = f"import sys; {warm}; assert 'numba' in sys.modules; assert 'numba.np.linalg' not in sys.modules"
    for code in (warm, check):  # compiled by then
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
