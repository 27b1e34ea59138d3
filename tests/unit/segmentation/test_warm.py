import subprocess
import sys

CHECK = """
import importlib, os, pkgutil
import schemas.kernels, segmentation
from numba.core.dispatcher import Dispatcher
from segmentation.warm import warm
from schemas.activity import ATTRIBUTES_TYPE
from segmentation.intake.value_maps import maps_of_columns
from tests.property.test_segment_owners import test_emitted_changes_match_the_whole_history
import pyarrow as pa

modules = [importlib.import_module(m.name) for package in (segmentation, schemas.kernels)
           for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
kernels = {f"{m.__name__}.{name}": kernel for m in modules for name, kernel in vars(m).items()
           if isinstance(kernel, Dispatcher) and kernel.py_func.__module__ == m.__name__}
compiled = lambda: {name: len(kernel.signatures) for name, kernel in kernels.items()}
assert len(kernels) > 15, kernels
warm()
before = compiled()
module_of = lambda name: name.rpartition(".")[0]
cold = {module_of(name) for name in kernels} - {module_of(name) for name, count in before.items() if count}
assert not any(module.startswith("segmentation") for module in cold), cold  # the history below draws few kinds of rules
test_emitted_changes_match_the_whole_history()
columns = [pa.array([1, 0], pa.int32()).cast(pa.int32() if field.type == pa.date32() else pa.int64()).cast(field.type)
           for field in ATTRIBUTES_TYPE.item_type]
maps_of_columns([str(n) for n in range(len(columns))], columns, 2, ATTRIBUTES_TYPE)
again = {name: count for name, count in compiled().items() if count != before[name]}
assert not again, again
os._exit(0)  # threads of libraries that the fakes load may end the interpreter with an abort
"""


def test_warmed_up_kernels_compile_nothing_for_records_and_rules() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
