"""Sets of users without sorting: a flag for each user, all of them down between calls."""

import numpy as np

from segmentation.evaluation.columns import Flags, Users, grown


class Marks:
    """Flags of the users of a partition. `users` is how many there are."""

    def __init__(self) -> None:
        self._flags: Flags = np.zeros(0, np.bool_)

    @property
    def nbytes(self) -> int:
        """Memory that is held."""
        return self._flags.nbytes

    def distinct(self, users: int, *some: Users) -> Users:
        """Those users that are in any of `some`, ascending, each once."""
        self._flags = grown(self._flags, users)
        for one in some:
            self._flags[one] = True
        out = np.flatnonzero(self._flags[:users]).astype(np.int32)
        self._flags[out] = False
        return out

    def among(self, users: Users, some: Users) -> Flags:
        """bool[n]: which of some users (distinct, ascending) are in `some`, which are all among them."""
        self._flags = grown(self._flags, int(users[-1]) + 1 if len(users) else 0)
        self._flags[some] = True
        out = self._flags[users]
        self._flags[users] = False
        return out
