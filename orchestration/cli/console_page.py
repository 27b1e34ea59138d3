"""How `muster console` hands a browser its address: in a file, since every user of the machine sees command lines."""

import html
import os
import subprocess
import time
import webbrowser
from pathlib import Path
from typing import Final

from connectors.private_files import make_private_folder, write_private
from orchestration.cli.session import settings
from orchestration.platform.deferred import deferred

with deferred(__name__):
    from muster import access

KEPT_S: Final = 60
"""As long as a code is valid."""
FOLDER: Final = "console"
REMOVE: Final = ("/bin/sh", "-c", f'sleep {KEPT_S}; rm -f -- "$0"')
PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<title>Muster</title>
<p><a href="{url}">Open the console</a></p>
</html>
"""


def open_in_browser(url: str) -> bool:
    """Open a page that leads to the address; returns whether a browser took it. The page is removed in a minute."""
    try:
        page = _write(url)
    except OSError:
        return False
    opened = False
    try:
        opened = webbrowser.open(page.as_uri())
    finally:
        if not opened:
            page.unlink()
    null = subprocess.DEVNULL
    if opened:
        subprocess.Popen([*REMOVE, str(page)], stdin=null, stdout=null, stderr=null, start_new_session=True)
    return opened


def _write(url: str) -> Path:
    """A page that only this user can read. Removes those that were left."""
    folder = _folder()
    make_private_folder(folder)
    for left in folder.glob("*.html"):
        if time.time() - left.stat().st_mtime > KEPT_S:
            left.unlink(missing_ok=True)
    page = folder / f"{os.urandom(8).hex()}.html"
    write_private(page, PAGE.format(url=html.escape(url)).encode())
    return page


def _folder() -> Path:
    """In the home of a stack, or else beside the access of `muster login`."""
    home = settings().home
    owned = (home / access.OWNER_TOKEN).exists()
    return (home / access.OWNER_TOKEN.parent if owned else access.access_file(os.environ).parent).absolute() / FOLDER
