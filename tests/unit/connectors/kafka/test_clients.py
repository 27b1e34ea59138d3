import pytest

from tests.trees import PRODUCT, ROOT


@pytest.mark.parametrize("call", ["list_consumer_group_offsets", "alter_consumer_group_offsets", "list_offsets"])
def test_librdkafka_admin_client_is_not_used_for_unsafe_requests(call: str) -> None:
    """See `connectors.kafka.clients.admin_client`."""
    assert _using(call) == []


def test_only_aiokafka_describes_groups() -> None:
    assert _using("describe_consumer_groups") == ["connectors/kafka/groups.py"]


def _using(call: str) -> list[str]:
    folders = [ROOT / name for name in PRODUCT if (ROOT / name).is_dir()]
    assert folders
    return [
        str(path.relative_to(ROOT))
        for folder in folders
        for path in folder.rglob("*.py")
        if call in path.read_text(encoding="utf-8")
    ]
