from datetime import date

import pytest

from release.changelog import dated, unreleased
from release.versions import Version

DAY = date(2026, 11, 28)
BEFORE = "# Changelog\n\n## [Unreleased]\n\n### Added\n- A thing.\n  In two lines.\n"
OLDER = "\n## [0.1.0] - 2026-01-02\n\n### Added\n- The first thing.\n"


@pytest.mark.parametrize("older", ["", OLDER])
def test_unreleased_entries_get_a_version_and_a_date(older: str) -> None:
    after = dated(BEFORE + older, Version(0, 2, 0), DAY)
    assert after == (
        "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-11-28\n\n### Added\n- A thing.\n  In two lines.\n" + older
    )
    assert unreleased(after) == ""


@pytest.mark.parametrize("body", ["", "\n", "\n### Added\n", "\n### Added\n\n### Changed\n-\n"])
def test_headings_are_not_entries(body: str) -> None:
    text = f"# Changelog\n\n## [Unreleased]\n{body}{OLDER}"
    assert unreleased(text) == ""
    with pytest.raises(ValueError, match="no unreleased entries"):
        dated(text, Version(0, 2, 0), DAY)


def test_entries_of_an_older_version_are_not_unreleased() -> None:
    assert unreleased("# Changelog\n" + OLDER) == ""
