"""The shipped list prices, and the errors for unusable price files."""

from dataclasses import fields
from datetime import date
from pathlib import Path

import pytest

from orchestration.quoting.prices import PRICES_FILE, Prices, load_prices
from schemas.errors import UserError

GOOD = 'zone_gb = { usd = 0.5, region = "here", date = 2026-02-03, source = "agreed" }\n'


def refused(path: Path, text: str) -> UserError:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        load_prices(path)
    assert raised.value.code == "BAD_SETTINGS"
    return raised.value


def test_shipped_prices_name_source_and_need_for_checking() -> None:
    shipped = load_prices()
    for field in fields(Prices):
        found = getattr(shipped, field.name)
        assert found.usd > 0, field.name
        assert found.source.endswith("to check"), field.name
        assert found.region == "us-east-1"


def test_each_price_has_one_line() -> None:
    lines = [line for line in PRICES_FILE.read_text().splitlines() if line and not line.startswith("#")]
    assert [line.split(" = ")[0] for line in lines] == [field.name for field in fields(Prices)]


def test_custom_price_file_changes_only_named_prices(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(GOOD)
    own, shipped = load_prices(tmp_path / "p.toml"), load_prices()
    assert (own.zone_gb.usd, own.zone_gb.region, own.zone_gb.date) == (0.5, "here", date(2026, 2, 3))
    assert own.nat_hour == shipped.nat_hour


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (GOOD.replace("0.5", "-0.5"), "usd is -0.5, not a number of at least 0"),
        (GOOD.replace("0.5", "nan"), "usd is nan, not a number of at least 0"),
        (GOOD.replace("0.5", "inf"), "usd is inf, not a number of at least 0"),
        (GOOD.replace("0.5", '"0.5"'), "usd is '0.5', not a number of at least 0"),
        (GOOD.replace("0.5", "true"), "usd is True, not a number of at least 0"),
        (GOOD.replace("2026-02-03", '"today"'), "date is 'today', not a date such as 2026-11-26"),
        (GOOD.replace("2026-02-03", "2026-02-03T00:00:00"), "not a date such as 2026-11-26"),
        (GOOD.replace('"here"', '" "'), "region is ' ', not a non-blank string"),
        (GOOD.replace('"agreed"', "7"), "source is 7, not a non-blank string"),
        (GOOD.replace("usd = 0.5, ", ""), "lacks usd"),
        (GOOD.replace("usd", "eur = 1, usd"), "unknown fields eur; known fields: usd, region, date, source"),
        ("zone_gb = 0.5\n", "write { usd = …, region = …, date = …, source = … }"),
        (GOOD.replace("zone_gb", "zone_kg"), "unknown price; known prices: function_gb_second, "),
    ],
)
def test_unusable_line_is_named(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "p.toml"
    error = refused(path, f"# mine\n\n{line}")
    assert error.message.startswith(f"{path}, line 3: zone_")
    assert why in error.message


def test_nested_table_is_a_line(tmp_path: Path) -> None:
    error = refused(tmp_path / "p.toml", "# mine\n[zone_gb]\nusd = -1\nregion = 'r'\ndate = 2026-02-03\nsource = 's'\n")
    assert ", line 2: zone_gb: usd is -1" in error.message


def test_invalid_toml_is_named_with_its_line(tmp_path: Path) -> None:
    error = refused(tmp_path / "p.toml", "# mine\nzone_gb = {\n")
    assert "p.toml is not valid TOML: " in error.message
    assert "line 2" in error.message


def test_missing_or_binary_price_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"BAD_SETTINGS.*none.toml cannot be read"):
        load_prices(tmp_path / "none.toml")
    (tmp_path / "p.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"BAD_SETTINGS.*p.toml cannot be read"):
        load_prices(tmp_path / "p.toml")


def test_a_shipped_file_without_a_price_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shipped.toml").write_text(GOOD)
    with pytest.raises(UserError, match=r"missing prices: function_gb_second, .*logs_gb"):
        load_prices(shipped=tmp_path / "shipped.toml")
