import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from orchestration.composition.process import Part
from orchestration.composition.service import Services
from orchestration.platform.settings import Settings
from tests.fakes.readers import FakeReaders

ALL_PARTS = """
import sys
from orchestration.composition.process import Part
from orchestration.entrypoints.service import Services, Settings
services = Services(Settings.load())
parts = [name for kind in Services.__mro__ for name, part in vars(kind).items() if isinstance(part, Part)]
assert "sql" in parts and "segments" in parts, parts
for name in set(parts) - {"workflow"}:  # its client needs a region
    getattr(services, name)
print({"boto3", "duckdb", "pyiceberg"} & sys.modules.keys() or "none")
"""


def test_all_parts_of_the_service_load_neither_duckdb_nor_pyiceberg_nor_boto3(tmp_path: Path) -> None:
    environment = {"MUSTER_HOME": str(tmp_path)}
    loaded = subprocess.run(
        [sys.executable, "-c", ALL_PARTS], env=environment, capture_output=True, text=True, check=False
    )
    assert (loaded.stdout, loaded.stderr) == ("none\n", "")


def test_part_is_made_once_for_concurrent_threads() -> None:
    class Slow:
        @Part
        def part(self) -> object:
            time.sleep(0.05)
            return object()

    slow, barrier = Slow(), Barrier(4)

    def ask(_: int) -> object:
        barrier.wait()
        return slow.part

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(ask, range(4)))) == 1


def test_closing_makes_no_part(tmp_path: Path) -> None:
    services = Services(Settings(home=tmp_path))
    services.close()
    assert vars(services).keys() == {"settings"}


def test_closing_ends_readers_that_were_made(tmp_path: Path) -> None:
    services, ended = Services(Settings(home=tmp_path)), []
    readers = FakeReaders({})
    readers.close = lambda: ended.append("readers")  # type: ignore[method-assign]
    vars(services)["readers"] = readers
    services.close()
    assert ended == ["readers"]
