"""A shop's click log, generated in the shape of a real one.

Sessions of one to about twenty clicks, on up to three platforms, users who go from new to returning to loyal, months of
cohorts, and ties: clicks of one user in the same second, in no order.
"""

import csv
import gzip
import io
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

HEADER: Final = (
    *("user_id", "session_id", "event", "timestamp"),
    *("platform", "acquisition_channel", "user_cohort", "user_lifecycle"),
)
USERS: Final = 200
EVENTS: Final = {
    "product_view": 69,
    "catalog": 65,
    "search": 40,
    "home": 28,
    "filter_results": 26,
    "add_to_cart": 13,
    "cart": 12,
    "shipping_details": 10,
    "wishlist_add": 8,
    "promo_page": 8,
    "payment_details": 7,
    "account_page": 7,
    "purchase": 5,
    "review_page": 4,
}
PLATFORMS: Final = {"desktop": 52, "mobile": 36, "tablet": 12}
CHANNELS: Final = {"organic": 37, "paid_search": 28, "email": 16, "social": 14, "direct": 5}
COHORTS: Final = ("2024-01", "2024-02", "2024-03", "2024-04")
FIRST: Final = datetime(2024, 1, 4, 8)  # noqa: DTZ001 - the real log has no zone either
DAYS: Final = 30
TIE: Final = 0.02
"""How often a click has the second of the previous one. The real log has 0.5 %; more ties find more bugs."""


@cache
def generated_log() -> bytes:
    """The log as CSV, compressed with gzip."""
    dice = random.Random(20_240_104)  # noqa: S311  # reproducible on purpose
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    session = 0
    for number in range(USERS):
        channel, cohort = _one_of(dice, CHANNELS), dice.choice(COHORTS)
        favourite = _one_of(dice, PLATFORMS)
        at = FIRST + timedelta(seconds=dice.randrange(90 * 86_400))
        for visit in range(dice.randint(3, 9)):
            session += 1
            platform = favourite if dice.random() < 0.85 else _one_of(dice, PLATFORMS)
            lifecycle = ("new", "returning", "loyal")[min(visit // dice.randint(1, 3), 2)]
            for _ in range(dice.choices(range(1, 25), range(24, 0, -1))[0]):
                about = (platform, channel, cohort, lifecycle)
                writer.writerow((f"user_{number:04}", f"sess_{session:06}", _one_of(dice, EVENTS), at, *about))
                at += timedelta(seconds=0 if dice.random() < TIE else dice.randint(1, 600))
            at += timedelta(seconds=dice.randrange(86_400 // 5, 18 * 86_400))
    return gzip.compress(text.getvalue().encode(), mtime=0)


def _one_of(dice: random.Random, weights: dict[str, int]) -> str:
    return dice.choices([*weights], [*weights.values()])[0]


def recent_clicks(*, until: datetime) -> Iterator[dict[str, str]]:
    """The rows of the log, with the clicks of each user moved so that the last is some days before `until`, in UTC.

    A shop that is open: a thirtieth of its users were there on each of the last thirty days.
    """
    with gzip.open(io.BytesIO(generated_log()), "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    last: dict[str, datetime] = {}
    for row in rows:
        happened = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
        last[row["user_id"]] = max(happened, last.get(row["user_id"], happened))
    moved = {
        user: until.replace(microsecond=0) - timedelta(days=number % DAYS, minutes=7 * number) - at
        for number, (user, at) in enumerate(last.items())
    }
    for row in rows:
        happened = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
        yield {**row, "timestamp": (happened + moved[row["user_id"]]).isoformat()}
