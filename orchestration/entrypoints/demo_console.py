"""`python -m orchestration.entrypoints.demo_console`: a stack with something of everything, to look around in.

Starts the stack, unless it is running; fills the tenant `default`, once; prints the address of the console; and leaves
the stack running.
"""

import sys
from os.path import relpath
from pathlib import Path

from muster import Client
from muster.access import owner_access
from orchestration.cli.console import print_line, show_error
from orchestration.cli.remote import translated
from orchestration.entrypoints.demo_seed import is_seeded, seed
from orchestration.local import stack
from orchestration.platform.settings import Settings
from schemas.errors import MusterError
from schemas.ids import DEFAULT_TENANT


def main() -> int:
    """Leave the stack running with data; returns 0."""
    try:
        settings = stack.up(Settings.load(), report=lambda part: print_line(f"{part.name:<17}{part.state}"))
        with translated(), Client(owner_access(settings.home, settings.api_url)) as muster:
            muster.create_tenant(DEFAULT_TENANT)
            if not is_seeded(muster, DEFAULT_TENANT):
                folder = settings.home / "demo"
                folder.mkdir(exist_ok=True)
                seed(muster, DEFAULT_TENANT, folder, settings.kafka_bootstrap, say=print_line)
            url = muster.console_url()
    except MusterError as exc:
        show_error(exc)
        return 1
    print_line("")
    print_line(f"The console: {url}", style="bold")
    command = relpath(Path(sys.prefix, "bin", "muster"))
    print_line(f"The address works once, within a minute. `{command} console` makes another;")
    print_line(f"`{command} down` stops the stack.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
