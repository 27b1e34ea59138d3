import pytest

from tests.trees import PRODUCT, ROOT


@pytest.mark.parametrize("call", ["list_consumer_group_offsets", "alter_consumer_group_offsets", "list_offsets"])
def test_no_admin_client_of_librdkafka_is_asked_what_kills_it_or_never_rests_while_a_broker_is_dead(call: str) -> None:
    """See `connectors.kafka.clients.admin_client`."""
    assert _using(call) == []


def test_groups_are_described_by_aiokafka_alone() -> None:
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
