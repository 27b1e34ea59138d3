"""Which files a compaction merges."""

import pytest

from connectors.lake.compaction import file_groups
from schemas.digest import Digest
from segmentation.versions import Part


def _part(size: int) -> Part:
    return Part(uri=f"s3://lake/{size}", rows=1, bytes=size, digest=Digest(schema_id="0" * 16), partition=None)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([5], [[5]]),
        ([3, 3, 3], [[3, 3, 3]]),
        ([4, 4, 4], [[4, 4], [4]]),
        ([20, 1, 1, 20], [[20], [1, 1], [20]]),
        ([10, 1], [[10], [1]]),
    ],
)
def test_neighbours_are_merged_up_to_the_target_size(sizes: list[int], expected: list[list[int]]) -> None:
    groups = file_groups([_part(size) for size in sizes], target_bytes=10)
    assert [[part.bytes for part in group] for group in groups] == expected
