"""Catalog schema: upgrade, downgrade, and whether it is current (Alembic, with migrations in this package)."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from orchestration.catalog.engine import create_engine, outages_translated
from orchestration.platform.settings import Secret

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def upgrade(url: Secret, revision: str = "head") -> None:
    """Upgrade the catalog to a revision; creates a missing SQLite file and its folder.

    Raises, as everything here does, `RetriableError` CATALOG_UNAVAILABLE and CATALOG_REFUSED.
    """
    parsed = sa.make_url(url.reveal())
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: Secret, revision: str) -> None:
    """Downgrade the catalog to a revision (`base` empties it)."""
    _run(url, lambda config: command.downgrade(config, revision))


def revisions(url: Secret) -> tuple[str | None, str | None]:
    """(revision of the catalog, newest revision in this release)."""
    engine = create_engine(url)
    try:
        with outages_translated(), engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    return current, ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _run(url: Secret, step: Callable[[Config], None]) -> None:
    engine = create_engine(url)
    try:
        with outages_translated(), engine.begin() as connection:
            config = _config()
            config.attributes["connection"] = connection
            step(config)
    finally:
        engine.dispose()
