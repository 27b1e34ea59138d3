from tests.trees import PRODUCT, ROOT


def test_nothing_asks_an_admin_client_for_offsets_of_a_group() -> None:
    """librdkafka may kill the process then (librdkafka issue 5040): `CommittedOffsets` asks with a consumer."""
    folders = [ROOT / name for name in PRODUCT if (ROOT / name).is_dir()]
    asking = [
        path.relative_to(ROOT)
        for folder in folders
        for path in folder.rglob("*.py")
        if "list_consumer_group_offsets" in path.read_text(encoding="utf-8")
    ]
    assert folders
    assert asking == []
