import subprocess
import sys

import pytest

HIDDEN = """
import sys
from connectors.loading import hide_pandas

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
COLLECTED = """
import gc
from contextlib import suppress
from connectors.loading import loading

with suppress(ImportError), loading():
    assert not gc.isenabled()
    import no_such_module
assert gc.isenabled()
assert gc.get_freeze_count() > 1000
"""


@pytest.mark.parametrize("check", [HIDDEN, COLLECTED], ids=["pandas", "garbage"])
def test_modules_load_without_pandas_or_garbage_collection(check: str) -> None:
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
