"""`python -m orchestration.api.write_document` writes docs/openapi.json (`make openapi`)."""

import sys
from pathlib import Path
from typing import Final

from orchestration.api.application import routes
from orchestration.api.document import document, text

FILE: Final = Path("docs", "openapi.json")


def main() -> None:
    """Write the file below the working directory."""
    FILE.write_text(text(document(routes())), encoding="utf-8")
    sys.stdout.write(f"{FILE}\n")


if __name__ == "__main__":
    main()
