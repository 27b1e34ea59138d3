from pathlib import Path

import pytest

from orchestration.quoting.rates import RATES_FILE, read_rates, shipped_rates
from schemas.errors import FatalError


def test_shipped_rates_name_their_source() -> None:
    rates = shipped_rates()
    for name in rates.__dataclass_fields__:
        assert getattr(rates, name).source, name


def test_unmeasured_rates_are_marked() -> None:
    rates = shipped_rates()
    for name in ("function_start_s", "task_start_s", "machine_start_s", "step_s", "s3_bytes_s"):
        source = getattr(rates, name).source
        assert source.startswith(("assumed: ", "documented: ")), name
        assert source.endswith("to measure at AWS"), name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[stages]", "[stage]"),
        ("verify =", "verified ="),
        ("wall_us", "wall"),
        ("[bytes]", "[bytes"),
        ("kafka =", "k ="),
    ],
)
def test_broken_file_of_rates_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "rates.toml"
    path.write_text(RATES_FILE.read_text().replace(old, new, 1))
    with pytest.raises(FatalError, match=r"BAD_RATES.*rates.toml cannot be read"):
        read_rates(path)
