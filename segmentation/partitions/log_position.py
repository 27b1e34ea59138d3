"""The position in the log at which an answer holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """The position vector: a partition's events, profiles and activations below it have been taken, and T is `at_us`.

    For events and profiles these are archive positions (`segmentation.archived`), for activations an offset.
    Two answers are comparable only at the same vector.
    """

    events: int = 0
    profiles: int = 0
    activations: int = 0
    at_us: int = 0

    def reached(self, other: "LogPosition") -> bool:
        """True if everything that `other` includes is included here."""
        return (
            self.events >= other.events
            and self.profiles >= other.profiles
            and self.activations >= other.activations
            and self.at_us >= other.at_us
        )

    def later(self, other: "LogPosition") -> "LogPosition":
        """The least position that has reached both."""
        return LogPosition(
            events=max(self.events, other.events),
            profiles=max(self.profiles, other.profiles),
            activations=max(self.activations, other.activations),
            at_us=max(self.at_us, other.at_us),
        )
