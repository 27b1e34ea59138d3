from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.platform.settings import Secret
from tests.fakes.deployment import Deployment, make_deployment


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    made = make_deployment(Secret(f"sqlite:///{tmp_path / 'catalog.db'}"), tmp_path, monkeypatch)
    yield made
    made.context.database.close()
