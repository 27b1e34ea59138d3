"""Which lists of a consent policy apply to an export or a feed.

No request can leave one out; exemptions are policy.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from connectors.sinks.addresses import S3
from orchestration.catalog.consent import StandingList
from orchestration.catalog.places import EVERYWHERE
from orchestration.catalog.references import ref_of
from orchestration.kinds.places import DOWNLOAD, PROFILE, checked_place, is_receiver_below
from schemas.errors import UserError
from schemas.export_shape import MAX_LISTS, AudienceVersion
from schemas.ids import JobId

if TYPE_CHECKING:
    from orchestration.catalog.audiences import AudienceStore
    from segmentation.versions import VersionStore


def checked_lists(lists: Iterable[StandingList]) -> list[StandingList]:
    """The entries of a policy, in their one form and order.

    Raises `UserError` BAD_PLACE, and BAD_CONSENT for entries that contradict each other, or too many lists.
    """
    found: dict[tuple[str, str], StandingList] = {}
    for one in lists:
        if one.exempt and (one.max_age_s is not None or one.destination is None):
            raise _bad(one.audience, "an exemption is for one destination and has no age")
        key = (one.audience, one.destination or "")
        if key in found:
            raise _bad(one.audience, f"it is listed twice for {one.destination or 'every destination'}")
        found[key] = one
    names = {one.audience for one in found.values()}
    if len(names) > MAX_LISTS:
        raise UserError("BAD_CONSENT", f"a tenant has at most {MAX_LISTS} standing lists, not {len(names)}")
    return [found[key] for key in sorted(found)]


def checked_destination(text: str | None) -> str | None:
    """A destination in its one form. Raises `UserError` BAD_PLACE."""
    if text is None or text == DOWNLOAD:
        return text
    place = checked_place(text)
    if place == EVERYWHERE:
        raise UserError("BAD_PLACE", "a list without a destination applies to all: omit the `*`", place=EVERYWHERE)
    return place


def applicable_lists(
    lists: Iterable[StandingList], *, to: str, profile: str | None, downloads: str | None
) -> list[StandingList]:
    """The lists whose members an export must leave out. `downloads`: where the tenant's downloads are; None: not there.

    Of several entries of one list, that of the longest address decides, then that of a profile, then the general one.
    """
    closest: dict[JobId, tuple[int, StandingList]] = {}
    for one in lists:
        rank = _rank(one.destination, to, profile, downloads)
        if rank is not None and rank >= closest.get(one.audience_id, (-1, one))[0]:
            closest[one.audience_id] = (rank, one)
    return [one for _, one in closest.values() if not one.exempt]


def pinned_lists(
    lists: Iterable[StandingList],
    *,
    exported: JobId,
    audiences: "AudienceStore",
    versions: "VersionStore",
    now_ms: int,
) -> list[AudienceVersion]:
    """Current versions of lists.

    Raises `UserError` NOTHING_PUBLISHED for a list that is empty because it was never filled, SUPPRESSION_STALE for one
    that is too old, and BAD_CONSENT for an export of a list to where it applies: all of its members would be left out.
    """
    found = []
    for one in lists:
        if one.audience_id == exported:
            raise _bad(
                one.audience, "it is left out of exports to this destination, itself included; exempt the destination"
            )
        audience = audiences.by_id(one.audience_id)
        current = None if audience is None else versions.current(ref_of(audience))
        if audience is None or current is None:
            raise UserError(
                "NOTHING_PUBLISHED",
                f"the standing list {one.audience} has no version yet, so nobody can be left out; import it first",
                audience=one.audience,
            )
        age_s = now_ms // 1000 - int(current.published_at.timestamp())
        if one.max_age_s is not None and age_s > one.max_age_s:
            raise UserError(
                "SUPPRESSION_STALE",
                f"version {current.version} of the standing list {one.audience} is {age_s} s old, and may be "
                f"{one.max_age_s} s; import a newer one",
                audience=one.audience,
                version=current.version,
                age_s=age_s,
                max_age_s=one.max_age_s,
            )
        found.append(AudienceVersion(audience=audience.name, version=current.version))
    return found


def require_no_lists(lists: Iterable[StandingList], to: str) -> None:
    """Raises `UserError` CONSENT_APPLIES for a file without a manifest to where lists apply."""
    if found := applicable_lists(lists, to=to, profile=None, downloads=None):
        raise UserError(
            "CONSENT_APPLIES",
            f"the consent policy leaves out {', '.join(one.audience for one in found)} here, which only a manifest can "
            "prove; export to a folder instead of a single file",
            lists=[one.audience for one in found],
        )


_OF_ALL: Final = 0
_OF_PROFILE: Final = 1


def _rank(destination: str | None, to: str, profile: str | None, downloads: str | None) -> int | None:
    """How close an entry is to an address; None if it is for others."""
    if destination is None:
        return _OF_ALL
    if destination.startswith(PROFILE):
        return _OF_PROFILE if destination.removeprefix(PROFILE) == profile else None
    if destination == DOWNLOAD:
        found = downloads is not None and profile is None and to.startswith(downloads)
        return 1 + len(downloads or "") if found else None
    return 1 + len(destination) if _covers(destination, to) else None


def _covers(destination: str, to: str) -> bool:
    if destination.startswith(S3):
        return f"{to.rstrip('/')}/".startswith(destination)
    return to == destination or is_receiver_below((destination,), to)


def _bad(name: str, why: str) -> UserError:
    return UserError("BAD_CONSENT", f"{name} cannot be used as a standing list: {why}", audience=name)
