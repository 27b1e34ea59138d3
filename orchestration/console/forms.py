"""Forms as browsers send them."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from orchestration.access.idempotency import RequestKey
from orchestration.platform.clock import fresh_secret, now_ms
from schemas.errors import UserError

MAX_FIELDS = 1000
FORM = "application/x-www-form-urlencoded"
EXPIRES = "muster-expires"
"""Until when a request may arrive, in milliseconds of the service's clock: one may wait while the service is away."""
MAX_DIGITS = 17


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name.

    Raises `UserError` BAD_BODY, and REQUEST_EXPIRED: the page gave the request up before it came, and has said so.
    """
    if (until := request.headers.get(EXPIRES, "")).isdecimal() and len(until) < MAX_DIGITS and now_ms() > int(until):
        raise UserError(
            "REQUEST_EXPIRED", "this request arrived too late, so nothing was done; load the page and try again"
        )
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    try:
        body = (await request.body()).decode()
        pairs = parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body), max_num_fields=MAX_FIELDS)
    except ValueError as exc:
        raise UserError("BAD_BODY", "the form cannot be read; load the page again") from exc
    if kind != FORM and pairs:
        raise UserError("BAD_BODY", "the form cannot be read; load the page again")
    return dict(pairs)


def fresh_key() -> str:
    """The idempotency key of a form: sent twice, it starts one job."""
    return fresh_secret()[:16].hex()


def key_of(request: Request, form: dict[str, str]) -> RequestKey:
    """The key in a form. Raises `UserError` NO_IDEMPOTENCY_KEY, BAD_IDEMPOTENCY_KEY."""
    asked = {name: value for name, value in form.items() if name != "key"}
    return RequestKey.of(form.get("key"), request.method, request.url.path, asked)
