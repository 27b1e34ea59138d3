"""The host name of the console on loopback: `<160 random bits>.localhost`, in `<home>/api/console-host`, mode 0600.

Cookies know no ports: a page that another user of the machine serves on 127.0.0.1 receives every cookie of that host.
Nobody else knows this name, so nobody else can lead a browser to it. Browsers resolve `*.localhost` to loopback.

Every start of the stack takes a new name: while the service was down, an open page may have sent its cookie, and this
name, to another listener on the service's port.
"""

import base64
import os
from pathlib import Path
from typing import Final

from connectors.private_files import make_private_folder, replace_private
from schemas.errors import UserError

HOST_FILE: Final = Path("api", "console-host")
"""Below the home."""
RANDOM_BYTES: Final = 20
"""32 digits in base 32."""


def console_host(home: Path) -> str:
    """The host name, made if it is missing. Raises `UserError` CONSOLE_HOST if the file cannot be read or written."""
    file = home / HOST_FILE
    try:
        if file.exists():
            return file.read_text("ascii").strip()
        make_private_folder(file.parent)
        name = base64.b32encode(os.urandom(RANDOM_BYTES)).decode().lower() + ".localhost"
        replace_private(file, f"{name}\n")
    except OSError as exc:
        raise UserError("CONSOLE_HOST", f"{file} cannot be used: {exc.strerror}", path=str(file)) from exc
    return name


def forget_console_host(home: Path) -> None:
    """Take a new name at the next start of the service."""
    (home / HOST_FILE).unlink(missing_ok=True)
