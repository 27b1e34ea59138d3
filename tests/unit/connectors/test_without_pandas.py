import subprocess
import sys

CHECK = """
import sys
from connectors.without_pandas import hide_pandas

hide_pandas()
import pyarrow as pa

assert pa.array(["a"]).to_pylist() == ["a"]
assert "pandas" not in sys.modules
try:
    import pandas
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("pandas is there")
"""


def test_arrow_works_and_pandas_is_not_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
