"""Static files."""

from collections.abc import Iterator

import pytest

from orchestration.console import assets
from schemas.errors import FatalError


@pytest.fixture
def _nothing_read() -> Iterator[None]:
    assets.assets.cache_clear()
    yield
    assets.assets.cache_clear()


@pytest.mark.usefixtures("_nothing_read")
def test_missing_asset_files_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "VENDOR", ("absent.js",))
    with pytest.raises(FatalError, match=r"NO_ASSETS.*static/vendor/absent.js: run `make assets`"):
        assets.asset_path("console.css")
