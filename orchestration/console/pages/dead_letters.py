"""Dead letters by topic and reason, and one as a whole; sending them again, and dismissing them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.bodies.dead_letters import DeadLetterSelection
from orchestration.access.policy import Action
from orchestration.access.views.dead_letters import DeadLetterQueue
from orchestration.api.service import asked_in_deployment
from orchestration.console.context import PageContext, ask
from orchestration.console.forms import form_of
from orchestration.console.frame import frame_of
from orchestration.console.language import Texts
from orchestration.console.paths import PREFIX
from orchestration.console.rendering import see_other, shown
from orchestration.records.dead_letters import DeadLetter, DeadLetters, Dismissed, Replayed
from schemas.dead_letters import DeadLetterState
from schemas.errors import UserError

READ: Final = 500
HANDLED: Final = 20
PATH: Final = f"{PREFIX}/dead-letters"
SHOWN_BYTES: Final = 64
DUMPED: Final = 16
"""Bytes on a line of a dump."""
WAITING: Final[tuple[DeadLetterState, ...]] = ("open", "replaying", "interrupted")
DONE: Final[tuple[DeadLetterState, ...]] = ("replayed", "dismissed")
SELECTED: Final = "letter-"


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterRow:
    """One letter. `path`: of its page, for those who may see records. `state_text`: empty while it is open."""

    found: DeadLetter
    path: str
    position: str
    state_text: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """Letters of one topic with one code. `up_to`: the newest; `example_bytes`: its beginning as `printable`."""

    topic: str
    code: str
    advice: str
    count: int
    up_to: str
    rows: Sequence[LetterRow]
    example_bytes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettersPage:
    """`more`: there are earlier ones. `notices`: what the reader has just done."""

    groups: Sequence[Letters]
    handled: Sequence[LetterRow]
    more: bool
    read: int
    notices: Sequence[str]
    path: str
    changes_path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterPage:
    """One letter with its record. `text`: the value, or a dump of its bytes; `key`: likewise, on one line."""

    row: LetterRow
    key: str
    text: str
    is_text: bool
    path: str
    changes_path: str
    may_replay: bool
    may_dismiss: bool


async def show_dead_letters(request: Request) -> Response:
    """The page."""
    found, handled = await _listed(request, READ, WAITING), await _listed(request, HANDLED, DONE)

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "dead-letters")
        linked = Action.READ_PAYLOADS in context.deployment.permitted
        page = DeadLettersPage(
            groups=groups_of(found.items, frame.texts, linked=linked),
            handled=[_row(one, frame.texts, linked=linked) for one in reversed(handled.items)],
            more=found.more,
            read=len(found.items),
            notices=_notices(request.query_params, frame.texts),
            path=PATH,
            changes_path=f"{PATH}/changes",
        )
        return shown("dead_letters.html", frame, page)

    return await ask(request, call)


async def _listed(request: Request, limit: int, states: Sequence[DeadLetterState]) -> DeadLetters:
    return await asked_in_deployment(
        request, DeadLetterQueue, DeadLetterQueue.list_dead_letters, limit=limit, state=list(states)
    )


def _notices(done: Mapping[str, str], t: Texts) -> list[str]:
    counts = {name: int(text) for name in ("sent", "dismissed", "already") if (text := done.get(name, "")).isdecimal()}
    return [t(f"dead_letters.done.{name}", count=count) for name, count in counts.items() if count < 10**9]


def groups_of(letters: Sequence[DeadLetter], t: Texts, *, linked: bool) -> list[Letters]:
    """Letters by topic and code of the reason, the largest group first."""
    groups = [
        _group(topic, code, list(members), t, linked=linked)
        for (topic, code), members in groupby(sorted(letters, key=_kind), key=_kind)
    ]
    return sorted(groups, key=lambda one: -one.count)


def _kind(letter: DeadLetter) -> tuple[str, str]:
    return letter.topic, letter.code or ""


def _group(topic: str, code: str, letters: Sequence[DeadLetter], t: Texts, *, linked: bool) -> Letters:
    newest = max(letters, key=lambda one: one.dead_letter)
    advice = f"dead_letter.{code}"
    return Letters(
        topic=topic,
        code=code,
        advice=t(advice) if t.has(advice) else t("dead_letters.advice"),
        count=len(letters),
        up_to=str(newest.dead_letter),
        rows=[_row(one, t, linked=linked) for one in reversed(letters)],
        example_bytes=_printable(bytes.fromhex(newest.starts_with)[:SHOWN_BYTES]),
    )


def _row(letter: DeadLetter, t: Texts, *, linked: bool) -> LetterRow:
    refused_as = letter.refused_as
    return LetterRow(
        found=letter,
        path=f"{PATH}/{letter.dead_letter}" if linked else "",
        position=f"{letter.topic} {letter.partition}:{letter.offset}",
        state_text="" if letter.state == "open" else t(f"dead_letters.state.{letter.state}"),
        outcome="" if refused_as is None else t("dead_letters.refused_as", number=str(refused_as)),
    )


def _printable(data: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in data)


def dump_of(data: bytes) -> str:
    """Bytes in hexadecimal, with the printable ones beside them."""
    lines = (data[at : at + DUMPED] for at in range(0, len(data), DUMPED))
    return "\n".join(f"{line.hex(' '):<{3 * DUMPED}} {_printable(line)}" for line in lines)


async def show_letter(request: Request) -> Response:
    """One letter with its record."""
    number = _number(str(request.path_params["letter"]))
    found = await asked_in_deployment(request, DeadLetterQueue, DeadLetterQueue.get_dead_letter, number)

    def call(context: PageContext) -> Response:
        frame = frame_of(request, context, "dead-letters")
        text, key, state = found.value_text, found.key_text, found.state
        page = LetterPage(
            row=_row(found, frame.texts, linked=True),
            key=found.key or "" if key is None else key,
            text=dump_of(base64.b64decode(found.value)) if text is None else text,
            is_text=text is not None,
            path=PATH,
            changes_path=f"{PATH}/changes",
            may_replay=state in {"open", "interrupted", "dismissed"},
            may_dismiss=state in {"open", "interrupted"},
        )
        return shown("dead_letter.html", frame, page)

    return await ask(request, call)


async def change(request: Request) -> Response:
    """Send letters again, or dismiss them: those selected, or all with one reason as the page showed them."""
    form = await form_of(request)
    action, _, scope = form.get("action", "").partition("-")
    selected = [_number(name.removeprefix(SELECTED)) for name in form if name.startswith(SELECTED)]
    if scope != "all" and not selected:
        return see_other(PATH)
    if scope == "all":
        up_to = _number(form.get("up_to", ""))
        body = DeadLetterSelection(dead_letters=None, topic=form.get("topic"), code=form.get("code"), up_to=up_to)
    else:
        body = DeadLetterSelection(dead_letters=selected)
    if action == "replay":
        replayed = await asked_in_deployment(request, DeadLetterQueue, DeadLetterQueue.replay_dead_letters, body)
        return see_other(f"{PATH}?sent={replayed.sent}{_already(replayed)}")
    dismissed = await asked_in_deployment(request, DeadLetterQueue, DeadLetterQueue.dismiss_dead_letters, body)
    return see_other(f"{PATH}?dismissed={dismissed.dismissed}{_already(dismissed)}")


def _already(done: Replayed | Dismissed) -> str:
    return f"&already={done.already}" if done.already else ""


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise UserError("BAD_BODY", "the form cannot be read; load the page again")
    return int(text)


ROUTES: Final = (
    Route(PATH, show_dead_letters),
    Route(f"{PATH}/changes", change, methods=["POST"]),
    Route(PATH + "/{letter}", show_letter),
)
