"""Where in the log an answer holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """What lies below these places of a partition's events, profiles and activations is taken in, and T is `at_us`.

    Of events and profiles they are positions (`segmentation.archived`), of activations it is an offset.
    The position vector: two answers are compared at the same place, or not at all.
    """

    events: int = 0
    profiles: int = 0
    activations: int = 0
    at_us: int = 0

    def reached(self, other: "LogPosition") -> bool:
        """Whether everything that `other` takes in is taken in here."""
        return (
            self.events >= other.events
            and self.profiles >= other.profiles
            and self.activations >= other.activations
            and self.at_us >= other.at_us
        )

    def later(self, other: "LogPosition") -> "LogPosition":
        """The least place that has reached both."""
        return LogPosition(
            events=max(self.events, other.events),
            profiles=max(self.profiles, other.profiles),
            activations=max(self.activations, other.activations),
            at_us=max(self.at_us, other.at_us),
        )
