"""The kinds of events that rules refer to, numbered, and the assignment of events to kinds."""

from collections.abc import Collection, Iterable

import numpy as np

from segmentation.evaluation.answers import event_mask
from segmentation.evaluation.batches import EventBatch
from segmentation.evaluation.columns import Users
from segmentation.evaluation.pending import Occurrences
from segmentation.rules.nodes import Events


class Kinds:
    """Kinds in the order of their numbers."""

    def __init__(self, kinds: Iterable[Events]) -> None:
        self._kinds = tuple(kinds)
        self._number = {kind: number for number, kind in enumerate(self._kinds)}
        self._by_name: dict[str, list[Events]] = {}
        for kind in self._kinds:
            self._by_name.setdefault(kind.event, []).append(kind)

    def __getitem__(self, number: int) -> Events:
        return self._kinds[number]

    def number(self, kind: Events) -> int:
        """The number of a kind. Raises KeyError."""
        return self._number[kind]

    def occurrences(self, batch: EventBatch, users: Users, only: Collection[Events] | None = None) -> Occurrences:
        """The events of a batch that some rule refers to, once per matching kind (of `only`, if given)."""
        encoded = batch.events.dictionary_encode()
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        found = []
        for number, name in enumerate(encoded.dictionary.to_pylist()):
            of_name = (kind for kind in self._by_name.get(name, ()) if only is None or kind in only)
            for index, kind in enumerate(of_name):
                if index == 0:
                    named = indices == number
                rows = np.flatnonzero(named & event_mask(kind, batch) if kind.where or kind.since else named)
                kinds = np.full(len(rows), self._number[kind], np.int32)
                found.append(Occurrences(kinds, users[rows], batch.occurred_at[rows], batch.identities[rows]))
        return Occurrences.of(found)
