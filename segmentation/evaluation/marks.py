"""Sets of users without sorting: one flag per user, all cleared between calls."""

from collections.abc import Sequence

import numpy as np

from schemas.kernels.compiling import kernel
from segmentation.evaluation.columns import NEVER, Flags, Micros, Users, grown


class Marks:
    """Scratch flags and instants of the users in a partition. `users` is their number."""

    def __init__(self) -> None:
        self._flags: Flags = np.zeros(0, np.bool_)
        self._instants: Micros = np.zeros(0, np.int64)

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return self._flags.nbytes + self._instants.nbytes

    def distinct(self, users: int, *subsets: Users) -> Users:
        """The users in any of `subsets`, ascending, each once."""
        self._flags = grown(self._flags, users)
        for one in subsets:
            self._flags[one] = True
        out = np.flatnonzero(self._flags[:users]).astype(np.int32)
        self._flags[out] = False
        return out

    def among(self, users: Users, subset: Users) -> Flags:
        """bool[n]: True for those of `users` (distinct, ascending) in `subset`, which they contain."""
        self._flags = grown(self._flags, int(users[-1]) + 1 if len(users) else 0)
        self._flags[subset] = True
        out = self._flags[users]
        self._flags[users] = False
        return out

    def earliest(self, users: int, subsets: Sequence[tuple[Users, Micros]]) -> tuple[Users, Micros, list[Flags]]:
        """Users in any of `subsets`, ascending; the earliest instant of each; for each subset, which entries are it."""
        self._instants = grown(self._instants, users, NEVER)
        for subset, instants in subsets:
            _lower(self._instants, subset, instants)
        distinct = self.distinct(users, *(subset for subset, _ in subsets))
        earliest = self._instants[distinct]
        is_earliest = [self._instants[subset] == instants for subset, instants in subsets]
        self._instants[distinct] = NEVER
        return distinct, earliest, is_earliest


@kernel
def _lower(all_instants, users, instants):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for k in range(users.shape[0]):
        all_instants[users[k]] = min(all_instants[users[k]], instants[k])
