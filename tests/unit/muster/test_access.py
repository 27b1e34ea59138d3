"""Where the client finds its token, and where it may be sent."""

import stat
from pathlib import Path

import pytest

from muster.access import Access, find_access, forget_access, save_access
from muster.errors import ApiError


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"MUSTER_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_environment_precedes_home_and_saved_access(env: dict[str, str], tmp_path: Path) -> None:
    save_access(Access(url="https://muster.example", token="saved"), env)
    assert find_access(env) == Access(url="https://muster.example", token="saved")
    (tmp_path / "home" / "api").mkdir(parents=True)
    (tmp_path / "home" / "api" / "token").write_text("own\n")
    assert find_access(env) == Access(url="http://127.0.0.1:18480", token="own")
    (tmp_path / "home" / "settings.toml").write_text('api_url = "http://127.0.0.1:20000"\n')
    assert find_access(env) == Access(url="http://127.0.0.1:20000", token="own")
    given = {**env, "MUSTER_TOKEN": "given", "MUSTER_API_URL": "https://other.example"}
    assert find_access(given) == Access(url="https://other.example", token="given")


def test_token_is_sent_only_to_its_own_address(env: dict[str, str], tmp_path: Path) -> None:
    save_access(Access(url="https://muster.example", token="saved"), env)
    (tmp_path / "home" / "api").mkdir(parents=True)
    (tmp_path / "home" / "api" / "token").write_text("own")
    assert find_access({**env, "MUSTER_API_URL": "https://muster.example"}).token == "saved"
    assert find_access({**env, "MUSTER_API_URL": "http://localhost:20000"}).token == "own"
    with pytest.raises(ApiError, match=r"no token for https://evil\.example") as refused:
        find_access({**env, "MUSTER_API_URL": "https://evil.example"})
    assert refused.value.code == "NO_ACCESS"


def test_missing_access_error_explains_the_remedy(env: dict[str, str]) -> None:
    with pytest.raises(ApiError, match=r"muster up.*muster login") as refused:
        find_access(env)
    assert refused.value.code == "NO_ACCESS"


def test_saved_access_is_private_and_removable(env: dict[str, str]) -> None:
    file = save_access(Access(url="https://muster.example", token="saved"), env)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert forget_access(env)
    assert not forget_access(env)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"url": "https://x"}', "\0"])
def test_damaged_access_file_is_named(env: dict[str, str], content: str) -> None:
    file = save_access(Access(url="https://muster.example", token="saved"), env)
    file.write_text(content)
    with pytest.raises(ApiError, match=str(file)) as refused:
        find_access(env)
    assert refused.value.code == "BAD_ACCESS_FILE"


def test_unwritable_token_file_is_named(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file")
    with pytest.raises(ApiError, match=r"access\.json") as refused:
        save_access(Access(url="https://muster.example", token="x"), env)
    assert refused.value.code == "BAD_ACCESS_FILE"


@pytest.mark.parametrize(
    "url",
    ["http://muster.example", "ftp://x", "muster.example", "https://", "https://me:secret@x", "https://x/?a=b", ""],
)
def test_token_is_not_sent_unencrypted(url: str) -> None:
    with pytest.raises(ApiError) as refused:
        Access(url=url, token="x")
    assert refused.value.code == "BAD_URL"


def test_an_access_does_not_print_its_token() -> None:
    assert "secret" not in repr(Access(url="https://x", token="secret"))
