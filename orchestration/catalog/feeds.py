"""Feeds in the catalog: what people choose, where each is, and who delivers it.

Whoever delivers a feed holds its lease, which is another one each time, and writes positions only under it. Pausing and
deleting a feed, and beginning it again, take the lease away: what its holder writes afterwards has no effect.
"""

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any, Final

import sqlalchemy as sa

from orchestration.catalog.engine import Database
from orchestration.catalog.feed_records import Feed, FeedCut, HeldFeed, Refused
from orchestration.catalog.names import lock_tenant
from orchestration.catalog.selected import answer_of
from orchestration.catalog.tables import feeds, segments
from orchestration.records import feeds as answers
from schemas.errors import MusterError, UserError
from schemas.ids import JobId, TenantName
from segmentation.feeds.positions import Positions, as_json

MAX_FEEDS: Final = 100
"""Per tenant: each reads all membership changes for itself."""
LEASE_MS: Final = 30_000
"""How long a feed waits for a process that was killed. It is renewed three times as often."""
RENEW_MS: Final = LEASE_MS // 3
BOTH_KEYS_MS: Final = 24 * 60 * 60 * 1000
"""How long a receiver has to enter another key."""
RESTORED_EPOCHS: Final = 1000
"""More than a feed begins again between a backup and its restore. Epochs have six digits."""
_FREE: Final[Mapping[str, Any]] = {"holder": None, "lease": None, "lease_until_ms": 0}
_WELL: Final[Mapping[str, Any]] = {"trouble": None, "trouble_since_ms": None}
_AGAIN: Final[Mapping[str, Any]] = {"topic_id": None, "positions": None, "refused": None, "behind": None}
Check = Callable[[answers.Feed], None]


class FeedStore:
    """Feeds. Every method is one transaction; outages raise `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: Feed) -> None:
        """Add a feed. Raises `UserError` UNKNOWN_TENANT, FEED_EXISTS, TOO_MANY_FEEDS, FEED_TOPIC_TAKEN."""
        with self._database.write() as connection:
            lock_tenant(connection, new.tenant)
            own = list(connection.scalars(sa.select(feeds.c.name).where(feeds.c.tenant == new.tenant)))
            if new.name in own:
                raise UserError(
                    "FEED_EXISTS",
                    f"tenant {new.tenant} already has a feed {new.name!r}; delete it first, or use another name",
                    tenant=new.tenant,
                    feed=new.name,
                )
            if len(own) >= MAX_FEEDS:
                raise UserError(
                    "TOO_MANY_FEEDS",
                    f"tenant {new.tenant} has {len(own)} feeds; at most {MAX_FEEDS} are allowed",
                    tenant=new.tenant,
                    feeds=len(own),
                )
            same = connection.scalars(sa.select(feeds.c.shape).where(feeds.c.target == new.target)).all()
            if same and "state" in {new.shape, *same}:
                raise UserError(
                    "FEED_TOPIC_TAKEN",
                    f"another feed delivers to {new.target}, and a topic of shape `state` takes one feed alone: choose "
                    "another topic",
                    to=new.target,
                )
            connection.execute(feeds.insert().values(**_values(new), lease_until_ms=0))

    def get(self, tenant: TenantName, name: str) -> answers.Feed:
        """The feed of that name. Raises `UserError` UNKNOWN_FEED."""
        with self._database.read() as connection:
            return _shown(_get(connection, tenant, name))

    def page(self, tenant: TenantName, *, after: str = "", limit: int) -> list[answers.Feed]:
        """Feeds of a tenant whose names come after one, by name."""
        query = _SELECT.where(feeds.c.tenant == tenant, feeds.c.name > after).order_by(feeds.c.name).limit(limit)
        with self._database.read() as connection:
            return [_shown(row) for row in connection.execute(query).mappings()]

    def of_segments(self, tenant: TenantName, segments_: Collection[str]) -> list[str]:
        """Names of the feeds that follow any of these segments."""
        query = sa.select(feeds.c.name).where(feeds.c.tenant == tenant, feeds.c.segment.in_(segments_))
        with self._database.read() as connection:
            return list(connection.scalars(query.order_by(feeds.c.name)))

    def pause(self, tenant: TenantName, name: str, check: Check) -> answers.Feed:
        """Deliver nothing until it is resumed. No effect on a paused one. Raises `UserError` UNKNOWN_FEED."""
        return self._change(tenant, name, check, lambda _: {"state": "paused", **_FREE})

    def resume(self, tenant: TenantName, name: str, check: Check, *, skip: bool) -> answers.Feed:
        """Deliver again. `skip`: leave out the batch that was refused.

        Raises `UserError` UNKNOWN_FEED; NOTHING_TO_SKIP.
        """

        def changed(feed: Feed) -> Mapping[str, Any]:
            skipped: Mapping[str, Any] = {}
            if skip:
                if feed.refused is None or feed.positions is None:
                    raise UserError(
                        "NOTHING_TO_SKIP",
                        f"the receiver of feed {name} has refused nothing: resume it without skipping",
                        feed=name,
                    )
                skipped = {"positions": as_json({**feed.positions, **feed.refused.after})}
            if feed.state == "active":
                return {}
            return {"state": "active", "refused": None, **_WELL, **skipped, **_FREE}

        return self._change(tenant, name, check, changed)

    def rewind(self, tenant: TenantName, name: str, check: Check) -> answers.Feed:
        """Let a feed begin again, with all members. Raises `UserError` UNKNOWN_FEED."""
        return self._change(tenant, name, check, lambda feed: {"epoch": feed.epoch + 1, **_AGAIN, **_WELL, **_FREE})

    def replace_key(self, tenant: TenantName, name: str, check: Check, now_ms: int) -> answers.Feed:
        """Sign with another key; for a while with the one before it, too. Raises `UserError` UNKNOWN_FEED."""

        def changed(feed: Feed) -> Mapping[str, Any]:
            return {"key_number": feed.key_number + 1, "both_keys_until_ms": now_ms + BOTH_KEYS_MS, **_FREE}

        return self._change(tenant, name, check, changed)

    def delete(self, tenant: TenantName, name: str, check: Check) -> answers.Feed:
        """Delete a feed; returns it as it was. Raises `UserError` UNKNOWN_FEED."""
        with self._database.write() as connection:
            found = _get(connection, tenant, name)
            check(_shown(found))
            connection.execute(feeds.delete().where(feeds.c.feed_id == found["feed_id"]))
            return _shown(found)

    def any_active(self) -> bool:
        """Whether any feed is to be delivered."""
        with self._database.read() as connection:
            query = sa.select(feeds.c.feed_id).where(feeds.c.state == "active").limit(1)
            return connection.execute(query).first() is not None

    def claim(self, holder: str, held: Collection[JobId], now_ms: int, limit: int) -> list[HeldFeed]:
        """Take the lease of active feeds that nobody delivers, up to `limit`.

        A process that has the name of the one that delivered a feed follows it: its leases are free at once, but for
        those `held`.
        """
        free = (feeds.c.lease_until_ms <= now_ms) | (feeds.c.holder == holder)
        query = (
            sa.select(feeds)
            .where(feeds.c.state == "active", free, feeds.c.feed_id.not_in(held))
            .order_by(feeds.c.lease_until_ms, feeds.c.feed_id)
            .limit(limit)
        )
        with self._database.read() as connection:  # most often there is nothing, which needs no lock
            if connection.execute(query).first() is None:
                return []
        claimed = []
        with self._database.write() as connection:
            for row in connection.execute(query.with_for_update(skip_locked=True)).mappings().all():
                lease = secrets.token_hex(16)
                own = {"holder": holder, "lease": lease, "lease_until_ms": now_ms + LEASE_MS}
                connection.execute(feeds.update().where(feeds.c.feed_id == row["feed_id"]).values(**own))
                claimed.append(HeldFeed(feed=Feed.from_row(row), lease=lease))
        return claimed

    def renew(self, leases: Collection[str], now_ms: int) -> None:
        """Renew those leases that still hold."""
        with self._database.write() as connection:
            mine = feeds.c.lease.in_(leases)
            connection.execute(feeds.update().where(mine).values(lease_until_ms=now_ms + LEASE_MS))

    def holding(self, leases: Collection[str]) -> set[str]:
        """Those leases that still hold."""
        with self._database.read() as connection:
            return set(connection.scalars(sa.select(feeds.c.lease).where(feeds.c.lease.in_(leases))))

    def release(self, held: HeldFeed) -> None:
        """Give a lease back."""
        self._put(held, _FREE)

    def begin(self, held: HeldFeed, topic_id: str, positions: Positions, cut: FeedCut | None) -> bool:
        """Record where a feed begins. False: the lease is lost."""
        record = None if cut is None else {"cut_id": cut.cut_id, "parts": [asdict(part) for part in cut.parts]}
        return self._put(held, {"topic_id": topic_id, "positions": as_json(positions), "cut": record})

    def advance(
        self, held: HeldFeed, positions: Positions, *, delivered: int, behind: int | None, members: bool, now_ms: int
    ) -> bool:
        """Record what is delivered: `delivered` events more. `members`: some are left. False: the lease is lost."""
        values: dict[str, Any] = {
            "positions": as_json(positions),
            "behind": behind,
            "seen_at_ms": now_ms,
            "delivered": feeds.c.delivered + delivered,
            **_WELL,
        }
        if delivered:
            values["delivered_at_ms"] = now_ms
        if not members:
            values["cut"] = None
        return self._put(held, values)

    def begin_again(self, held: HeldFeed, why: MusterError, now_ms: int) -> bool:
        """Give up the position of a feed: it begins again, with all members. False: the lease is lost."""
        again = {"epoch": held.feed.epoch + 1, **_AGAIN, **_trouble(why, now_ms), **_FREE}
        return self._put(held, again)

    def put_trouble(self, held: HeldFeed, why: MusterError, now_ms: int) -> bool:
        """Record why nothing is delivered; since when stays that of the first trouble. False: the lease is lost."""
        since = sa.func.coalesce(feeds.c.trouble_since_ms, now_ms)
        return self._put(held, {**_trouble(why, now_ms), "trouble_since_ms": since})

    def halt(
        self, held: HeldFeed, why: MusterError, refused: Refused | None, now_ms: int, *, begins_again: bool = False
    ) -> bool:
        """Deliver nothing before someone resumes the feed, for instance since the receiver refuses what comes next.

        `begins_again`: it then begins again, with all members. False: the lease is lost.
        """
        again: Mapping[str, Any] = {"epoch": held.feed.epoch + 1, **_AGAIN} if begins_again else {}
        kept = None if refused is None else {"events": refused.events, "after": as_json(refused.after)}
        return self._put(held, {**again, "state": "halted", "refused": kept, **_trouble(why, now_ms), **_FREE})

    def restored(self) -> list[str]:
        """Pause all feeds of a restored catalog; resumed, each begins again. Returns those that were active.

        The deployment that was backed up may still deliver them. What a feed delivers from here comes after all that it
        has delivered there, also since the backup.
        """
        with self._database.write() as connection:
            active = sa.select(feeds.c.tenant, feeds.c.name).where(feeds.c.state == "active")
            found = connection.execute(active.order_by(feeds.c.tenant, feeds.c.name)).all()
            again = {"epoch": feeds.c.epoch + RESTORED_EPOCHS, **_AGAIN, "cut": None, **_FREE}
            connection.execute(feeds.update().values(**again))
            connection.execute(feeds.update().where(feeds.c.state == "active").values(state="paused", **_WELL))
        return [f"{tenant}/{name}" for tenant, name in found]

    def cuts(self) -> set[JobId]:
        """Ids of the cuts whose members are still to be delivered."""
        with self._database.read() as connection:
            found = connection.scalars(sa.select(feeds.c.cut).where(feeds.c.cut.is_not(None)))
            return {cut["cut_id"] for cut in found}

    def _put(self, held: HeldFeed, values: Mapping[str, Any]) -> bool:
        mine = (feeds.c.feed_id == held.feed.feed_id) & (feeds.c.lease == held.lease)
        with self._database.write() as connection:
            return connection.execute(feeds.update().where(mine).values(**values)).rowcount > 0

    def _change(
        self, tenant: TenantName, name: str, check: Check, changed: Callable[[Feed], Mapping[str, Any]]
    ) -> answers.Feed:
        with self._database.write() as connection:
            found = _get(connection, tenant, name)
            check(_shown(found))
            if values := changed(Feed.from_row(found)):
                connection.execute(feeds.update().where(feeds.c.feed_id == found["feed_id"]).values(**values))
            return _shown(_get(connection, tenant, name))


_SELECT: Final = sa.select(feeds, segments.c.state.label("segment_state")).outerjoin(
    segments, (segments.c.tenant == feeds.c.tenant) & (segments.c.name == feeds.c.segment)
)


def _get(connection: sa.Connection, tenant: TenantName, name: str) -> Mapping[Any, Any]:
    query = _SELECT.where(feeds.c.tenant == tenant, feeds.c.name == name).with_for_update(of=feeds)
    if (row := connection.execute(query).mappings().one_or_none()) is None:
        raise UserError(
            "UNKNOWN_FEED",
            f"tenant {tenant} has no feed {name!r}; `muster feeds list` shows those that exist",
            tenant=tenant,
            feed=name,
        )
    return row


def _shown(row: Mapping[Any, Any]) -> answers.Feed:
    feed = Feed.from_row(row)
    return answer_of(
        answers.Feed,
        feed,
        feed=feed.feed_id,
        to=feed.target,
        segment_state=row["segment_state"] or "missing",
        refused=None if feed.refused is None else feed.refused.events,
    )


def _values(feed: Feed) -> dict[str, Any]:
    return {name: getattr(feed, name) for name in Feed.__dataclass_fields__}


def _trouble(why: MusterError, now_ms: int) -> Mapping[str, Any]:
    return {"trouble": {"code": why.code, "message": why.message}, "trouble_since_ms": now_ms}
