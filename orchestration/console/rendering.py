"""Templates to answers, with the headers of pages."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from orchestration.console.assets import asset_path
from orchestration.console.formatting import FILTERS
from orchestration.console.frame import Frame
from orchestration.console.paths import LOGIN, OPEN, PREFERENCES
from orchestration.platform.clock import now_ms

FOLDER: Final = Path(__file__).with_name("templates")
POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}


@cache
def environment() -> Environment:
    """The templates: everything is escaped, and a name that is missing is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(FILTERS)
    made.globals.update(
        {"asset": asset_path, "login_path": LOGIN, "open_path": OPEN, "preferences_path": PREFERENCES, "now_ms": now_ms}
    )
    return made


def shown(template: str, frame: Frame, page: Any, *, status: int = 200) -> Response:
    """A page. `page`: its view model. `frame.connect`: origins that its scripts may send to, besides our own."""
    text = environment().get_template(template).render(page=page, frame=frame, t=frame.texts)
    connect = " ".join(("'self'", *frame.connect))
    policy = "; ".join(f"{name} {value}" for name, value in {**POLICY, "connect-src": connect}.items())
    # What a page shows depends on who asks, and a page of a session that has ended must not come back by Back.
    return Response(
        text, status, {"Content-Security-Policy": policy, "Vary": "Cookie, Accept-Language"}, "text/html; charset=utf-8"
    )


def see_other(path: str) -> Response:
    """To the page that shows what a change has made."""
    return Response(status_code=303, headers={"Location": path})
