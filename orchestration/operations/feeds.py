"""Feeds as people ask for them: where they may deliver to, and the keys that sign what they send over HTTP."""

import base64
import hmac
from collections.abc import Iterable
from typing import Final

from connectors.sinks.topic_addresses import SCHEME, topic_of
from orchestration.catalog.consent import ConsentPolicy, StandingList
from orchestration.catalog.feed_records import Feed
from orchestration.catalog.feeds import FeedStore
from orchestration.catalog.segment_records import RuleVersion, Segment
from orchestration.kinds.consent import applicable_lists
from orchestration.kinds.places import HTTP, AllowedLocations
from orchestration.notifications.recipients import webhook
from orchestration.notifications.targets import PrivateTargets
from orchestration.platform.deferred import deferred
from orchestration.platform.settings import Secret, Settings
from orchestration.records.feeds import FeedShape, FeedStart
from schemas.errors import UserError
from schemas.ids import JobId, feed_name, tenant_name

with deferred(__name__):
    from segmentation.rules import references

KEY_PREFIX: Final = "whsec_"
"""Before a key as receivers enter it (Standard Webhooks)."""


def new_feed(
    segment: Segment,
    rule: RuleVersion,
    consent: ConsentPolicy,
    name: str,
    *,
    to: str,
    start: FeedStart,
    shape: FeedShape,
    author: str,
    feed_id: JobId,
    now_ms: int,
    allowed: AllowedLocations,
) -> Feed:
    """A feed to add.

    Raises `UserError` BAD_URI, BAD_DESTINATION, BAD_RECIPIENT, DESTINATION_NOT_WRITABLE, FEED_WITHOUT_CONSENT,
    NO_WEBHOOK_SECRET.
    """
    target = _target(to, allowed.settings)
    allowed.require_destination(target, None)
    require_consent(consent, segment.name, rule, target)
    return Feed(
        feed_id=feed_id,
        tenant=segment.tenant,
        name=name,
        segment=segment.name,
        target=target,
        shape=shape,
        start=start,
        author=author[:255],
        created_at_ms=now_ms,
    )


def require_consent(consent: ConsentPolicy, segment: str, rule: RuleVersion, to: str) -> None:
    """Raises `UserError` FEED_WITHOUT_CONSENT if a rule does not exclude the standing lists of a feed's target.

    A feed cannot leave out members by itself: its receiver would not learn when they enter and leave.
    """
    if missing := unexcluded_lists(applicable_lists(consent.lists, to=to, profile=None, downloads=None), rule):
        words = " ".join(f"and not in audience {name}" for name in missing)
        raise UserError(
            "FEED_WITHOUT_CONSENT",
            f"by the consent policy, members of {', '.join(missing)} must not be sent to {to}, and the rule of segment "
            f"{segment} does not exclude them: add `{words}` to the rule, or exempt this destination",
            segment=segment,
            lists=missing,
        )


def unexcluded_lists(lists: Iterable[StandingList], rule: RuleVersion) -> list[str]:
    """Standing lists whose members a rule does not exclude, by its words."""
    names = {str(one.audience) for one in lists if not one.exempt}
    return sorted(names - references.excluded_audiences(rule.parsed)) if names else []


def _target(to: str, settings: Settings) -> str:
    if not to.startswith(HTTP):
        return f"{SCHEME}{topic_of(to)}"
    if "?" in to:
        why = "the address of a receiver must not have a query: it may hold a secret"
        raise UserError("BAD_URI", why, uri=to.partition("?")[0][:200])
    if not settings.webhook_secret and not settings.webhook_secret_holder:
        raise UserError("NO_WEBHOOK_SECRET", "the setting webhook_secret is not set, so nothing could be signed")
    return webhook(to, PrivateTargets.parse(settings.webhook_private_targets))


def signing_key(secret: Secret, feed_id: JobId, number: int) -> Secret:
    """The key of a feed, in base64. `secret`: of the deployment; `number`: how often the key was replaced.

    Derived: the catalog has the number alone.
    """
    text = f"muster feed key {feed_id} {number}".encode()
    return Secret(base64.b64encode(hmac.digest(secret.reveal().encode(), text, "sha256")).decode())


def shown_key(settings: Settings, feeds: FeedStore, tenant: str, name: str) -> Secret:
    """The key of a feed as its receiver enters it. Raises `UserError` BAD_NAME, UNKNOWN_FEED, NO_WEBHOOK_SECRET."""
    if not settings.webhook_secret:
        raise UserError("NO_WEBHOOK_SECRET", "the setting webhook_secret is not set")
    found = feeds.get(tenant_name(tenant), feed_name(name))
    return Secret(KEY_PREFIX + signing_key(settings.webhook_secret, JobId(found.feed), found.key_number).reveal())
