import subprocess
import sys

CHECK = """
import importlib, io, pathlib, pkgutil, tempfile
from dataclasses import replace
import pyarrow as pa
import pyarrow.parquet as pq
from numba.core.dispatcher import Dispatcher
import connectors.sources, schemas.kernels
from connectors.sources.avro_reader import AvroReader
from connectors.sources.compression import CountedSource
from connectors.sources.csv_reader import CsvReader
from connectors.sources.jsonl_reader import JsonLinesReader
from connectors.sources.parquet_reader import ParquetReader
from connectors.sources.warm import _CSV, warm
from schemas.columns import Column
from schemas.import_spec import ImportSpec
from tests.hostile.avro_bytes import avro, record

modules = [importlib.import_module(m.name) for package in (connectors.sources, schemas.kernels)
           for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
           if m.name not in ("schemas.kernels.avro_records", "schemas.kernels.hashing")]
kernels = {f"{m.__name__}.{name}": kernel for m in modules for name, kernel in vars(m).items()
           if isinstance(kernel, Dispatcher) and kernel.py_func.__module__ == m.__name__}
compiled = lambda: {name: len(kernel.signatures) for name, kernel in kernels.items()}
called = lambda: {name for name, kernel in kernels.items() if kernel.stats.cache_hits or kernel.stats.cache_misses}
assert len(kernels) > 12, kernels
warm()
before = compiled()
# Those that only other kernels call have no signatures of their own where these come from the cache.
INNER = ("first_invalid_utf8", "_number", "_day", "_clock", "_zone", "_after_space", "_may_be_object", "_hex",
         "_put_utf8", "_unescape", "parse_string", "parse_number", "hash_of", "zigzag", "parse_instants",
         "_flat", "_skip")
inner = {name for name in kernels if name.rpartition(".")[2] in INNER}
assert called() | inner == set(kernels), set(kernels) - called()
columns = (Column(name="n", type="long"), Column(name="x", type="double"), Column(name="d", type="date"),
           Column(name="t", type="timestamp"), Column(name="b", type="boolean"), Column(name="s"))
spec = ImportSpec(columns=columns, max_reject_share=1.0)
for text in (_CSV, _CSV.replace(b"\\n", b"\\r\\n"), b"user_id,n,x,d,t,b,s\\n"):
    for spec_of_it in (spec, ImportSpec(columns=columns[:1], max_reject_share=1.0), ImportSpec(max_reject_share=1.0)):
        for sizes in ({}, {"block_bytes": 300, "record_limit": 100}):
            list(CsvReader(CountedSource(io.BytesIO(text)), spec_of_it, **sizes))
for delimiter, encoding in ((";", "utf-8"), (",", "cp932"), ("\\t", "utf-16le")):
    codec = encoding.replace("16le", "16-le")
    other = _CSV.decode(errors="replace").replace(",", delimiter).encode(codec, "replace")
    list(CsvReader(CountedSource(io.BytesIO(other)), replace(spec, delimiter=delimiter, encoding=encoding)))
for type_ in ("string", "bytes", ["null", "string"]):
    fields = [("user_id", type_), *((c.name, type_) for c in columns)]
    row = {name: b"1" if type_ == "bytes" else "1" for name, _ in fields}
    list(AvroReader(io.BytesIO(avro(record(*fields), [row])), spec, max_decoded_bytes=1 << 30, max_ratio=1.0))
good = b'{"user_id":"a","n":1,"x":"1.5","d":"2026-01-01","t":"2026-01-01T00:00:00Z","b":true,"s":"x"}\\n'
odd = good.replace(b'"1.5"', b"1.23456789012345678").replace(b'"x"', b'"\\\\u0061"')
lines = good + odd + b'{"user_id":"b","s":"\\xff"}\\n'
list(JsonLinesReader(CountedSource(io.BytesIO(lines)), spec))
for texts in (pa.array(["x", None]), pa.array([b"\\xff", b"y"]), pa.array(["x", "y"], pa.large_string())):
    path = pathlib.Path(tempfile.mkdtemp()) / "f.parquet"
    pq.write_table(pa.table({"user_id": ["a", "b"], "s": texts, "d": ["2026-01-01", "x"], "n": ["1", "x"]}), path)
    parquet = ImportSpec(columns=(columns[0], columns[2], columns[5]), max_reject_share=1.0)
    with path.open("rb") as file:
        list(ParquetReader(file.fileno(), parquet, max_decoded_bytes=1 << 30, max_ratio=1000.0))
again = {name: count for name, count in compiled().items() if count != before[name]}
assert not again, again
"""


def test_warmed_up_kernels_compile_nothing_for_files() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
