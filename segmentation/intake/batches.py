"""Rows of the topics as batches for the evaluator: one per tenant, in log order."""

from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import pyarrow as pa

from schemas.activity import ATTRIBUTES, IDENTITY, PROPERTIES
from schemas.activity_columns import DELETED, EVENT, OCCURRED_AT
from schemas.columns import USER_ID
from schemas.ids import TenantName
from segmentation.evaluation.batches import EventBatch, ProfileBatch
from segmentation.intake.tenants import by_tenant
from segmentation.intake.value_maps import mentions_of, values_of


def event_batches(rows: pa.RecordBatch) -> Iterator[tuple[TenantName, EventBatch]]:
    """The events (`EVENT_ROWS`) of each tenant."""
    for tenant, of_tenant in by_tenant(rows):
        yield (
            tenant,
            EventBatch(
                user_ids=of_tenant.column(USER_ID),
                events=of_tenant.column(EVENT),
                occurred_at=of_tenant.column(OCCURRED_AT).cast(pa.int64()).to_numpy(),
                identities=of_tenant.column(IDENTITY).to_numpy(),
                values=cache(partial(values_of, of_tenant.column(PROPERTIES))),  # rules often use the same property
            ),
        )


def profile_batches(rows: pa.RecordBatch) -> Iterator[tuple[TenantName, ProfileBatch]]:
    """The changes of profiles (`PROFILE_ROWS`) of each tenant."""
    for tenant, of_tenant in by_tenant(rows):
        yield (
            tenant,
            ProfileBatch(
                user_ids=of_tenant.column(USER_ID),
                deleted=np.asarray(of_tenant.column(DELETED).to_numpy(zero_copy_only=False), np.bool_),
                mentions=partial(mentions_of, of_tenant.column(ATTRIBUTES)),
                values=cache(partial(values_of, of_tenant.column(ATTRIBUTES))),
            ),
        )
