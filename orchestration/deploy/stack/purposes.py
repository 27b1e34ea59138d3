"""Logical ids of the buckets, by purpose. No CDK here, so that a comparison need not load it."""

from collections.abc import Mapping
from typing import Final

LOGICAL: Final[Mapping[str, str]] = {"inbox": "InboxBucket", "staging": "StagingBucket", "lake": "LakeBucket"}
