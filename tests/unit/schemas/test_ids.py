import pytest

from schemas.errors import UserError
from schemas.ids import audience_name, job_id, new_job_id, tenant_name


@pytest.mark.parametrize("name", ["a", "0", "vip", "vip_users-2026", "a" * 63])
def test_names_of_tenants_and_audiences(name: str) -> None:
    assert tenant_name(name) == name
    assert audience_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "-a", "_a", "a b", "a/b", "..", "a.b", "a" * 64, "vip\n", "ｖｉｐ", "ключ", "🙂", "a\x00", "٣"],
)
def test_invalid_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(UserError, match="use 1 to 63 of a-z, 0-9, '_' and '-'") as error:
        audience_name(name)
    assert (error.value.code, error.value.detail) == ("BAD_NAME", {"what": "audience", "value": name})


def test_long_name_is_truncated_in_the_error() -> None:
    with pytest.raises(UserError) as error:
        tenant_name("x" * 10_000)
    assert len(error.value.message) < 300
    assert error.value.detail["value"] == "x" * 80


def test_a_job_id_is_a_ulid_in_lower_case() -> None:
    # https://github.com/ulid/spec: 1469918176385 ms is 01ARYZ6S41
    assert new_job_id(1469918176385, b"\x00" * 10) == "01aryz6s410000000000000000"
    assert new_job_id(1469918176385, b"\xff" * 10) == "01aryz6s41zzzzzzzzzzzzzzzz"


def test_job_ids_sort_by_time() -> None:
    times = [0, 1, 31, 32, 2**40, 2**48 - 1]
    ids = [new_job_id(now_ms, b"\xff" * 10 if now_ms % 2 else b"\x00" * 10) for now_ms in times]
    assert ids == sorted(ids)
    assert all(job_id(i) == i for i in ids)


def test_job_id_requires_ten_random_bytes() -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        new_job_id(0, b"x")


@pytest.mark.parametrize("text", ["", "01ARYZ6S410000000000000000", "01aryz6s41000000000000000", "../" * 9, "i" * 26])
def test_invalid_job_id_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="BAD_JOB_ID"):
        job_id(text)
