"""Dead letters: records that no worker could decode, by topic and reason, and sending them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.pages import Record
from orchestration.access.views.kafka import DeploymentKafkaView
from orchestration.api.service import asked_in_deployment
from orchestration.console.desk import Desk, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.language import Texts
from orchestration.console.paths import PREFIX
from orchestration.console.rendering import see_other, shown
from schemas.errors import UserError

READ: Final = 500
PATH: Final = f"{PREFIX}/dead-letters"
SHOWN_BYTES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """Letters of one topic with one reason: `numbers` names all of them, `example` is the newest.

    `example_bytes`: its beginning, with a dot for anything but printable ASCII.
    """

    topic: str
    code: str
    advice: str
    count: int
    numbers: str
    reason: str
    newest_at: str
    position: str
    example_bytes: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettersPage:
    """`more`: there are earlier ones. `sent`: how many the reader has just sent again."""

    groups: Sequence[Letters]
    more: bool
    read: int
    sent: int | None
    replay_path: str


async def show_dead_letters(request: Request) -> Response:
    """The page."""
    found = await asked_in_deployment(
        request, DeploymentKafkaView, lambda view, cancellation: view.dead_letters(cancellation, limit=READ)
    )
    sent = request.query_params.get("sent", "")

    def call(desk: Desk) -> Response:
        frame = frame_of(request, desk, "dead-letters")
        page = DeadLettersPage(
            groups=groups_of(found["items"], frame.texts),
            more=found["more"],
            read=len(found["items"]),
            sent=int(sent) if sent.isdecimal() and len(sent) < 10 else None,
            replay_path=f"{PATH}/replays",
        )
        return shown("dead_letters.html", frame, page)

    return await ask(request, call)


def groups_of(letters: Sequence[Record], t: Texts) -> list[Letters]:
    """Letters by topic and code of the reason, the largest group first."""
    groups = [
        _group(topic, code, list(members), t)
        for (topic, code), members in groupby(sorted(letters, key=_kind), key=_kind)
    ]
    return sorted(groups, key=lambda one: -one.count)


def _kind(letter: Record) -> tuple[str, str]:
    code, colon, _ = str(letter["reason"]).partition(":")
    return letter["topic"], code if colon and code.isidentifier() else ""


def _group(topic: str, code: str, letters: Sequence[Record], t: Texts) -> Letters:
    newest = max(letters, key=lambda one: int(one["dead_letter"]))
    advice = f"dead_letter.{code}"
    return Letters(
        topic=topic,
        code=code,
        advice=t(advice) if t.has(advice) else t("dead_letters.advice"),
        count=len(letters),
        numbers=",".join(str(one["dead_letter"]) for one in letters),
        reason=newest["reason"],
        newest_at=newest["failed_at"],
        position=f"{newest['topic']} {newest['partition']}:{newest['offset']}",
        example_bytes=_printable(bytes.fromhex(newest["starts_with"])[:SHOWN_BYTES]),
        size=newest["bytes"],
    )


def _printable(data: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in data)


async def replay(request: Request) -> Response:
    """Send letters again; those that still fail become new ones."""
    form = await form_of(request)
    try:
        numbers = [int(one) for one in form.get("numbers", "").split(",")]
    except ValueError as exc:
        raise UserError("BAD_BODY", "the form cannot be read; load the page again") from exc
    done = await asked_in_deployment(request, DeploymentKafkaView, lambda view, _: view.replay_dead_letters(numbers))
    return see_other(f"{PATH}?sent={done['sent']}")


ROUTES: Final = (Route(PATH, show_dead_letters), Route(f"{PATH}/replays", replay, methods=["POST"]))
