"""The kinds of events that rules refer to, numbered, and the assignment of events to kinds."""

from collections.abc import Collection, Iterable

import numpy as np

from segmentation.evaluation.answers import amounts_of, event_mask, keys_of
from segmentation.evaluation.batches import EventBatch
from segmentation.evaluation.columns import Users
from segmentation.evaluation.pending import Occurrences
from segmentation.evaluation.plan import Keyed, Kind, Numbered
from segmentation.rules.events import Events


class Kinds:
    """Kinds in the order of their numbers."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._kinds = tuple(kinds)
        self._number = {kind: number for number, kind in enumerate(self._kinds)}
        self._by_name: dict[str, list[Kind]] = {}
        for kind in self._kinds:
            self._by_name.setdefault(events_of_kind(kind).event, []).append(kind)

    def __contains__(self, kind: object) -> bool:
        return kind in self._number

    def __getitem__(self, number: int) -> Kind:
        return self._kinds[number]

    def number(self, kind: Kind) -> int:
        """The number of a kind. Raises KeyError."""
        return self._number[kind]

    def occurrences(self, batch: EventBatch, users: Users, only: Collection[Kind] | None = None) -> Occurrences:
        """The events of a batch that some rule refers to, once per matching kind (of `only`, if given)."""
        encoded = batch.events.dictionary_encode()
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        found = []
        for number, name in enumerate(encoded.dictionary.to_pylist()):
            of_name = (kind for kind in self._by_name.get(name, ()) if only is None or kind in only)
            for index, kind in enumerate(of_name):
                if index == 0:
                    named = indices == number
                events = events_of_kind(kind)
                matched = named & event_mask(events, batch) if events.where or events.since else named
                identities, amounts = batch.identities, None
                if isinstance(kind, Keyed):
                    there, identities = keys_of(batch, kind.same)
                    matched = matched & there
                elif isinstance(kind, Numbered):
                    there, amounts = amounts_of(batch, kind.of)
                    matched = matched & there
                rows = np.flatnonzero(matched)
                kinds = np.full(len(rows), self._number[kind], np.int32)
                given = np.zeros(len(rows), np.int64) if amounts is None else amounts[rows]
                found.append(Occurrences(kinds, users[rows], batch.occurred_at[rows], identities[rows], given))
        return Occurrences.of(found)


def events_of_kind(kind: Kind) -> Events:
    """The events of a kind, whatever their values."""
    return kind if isinstance(kind, Events) else kind.events
