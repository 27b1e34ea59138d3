"""`python -m orchestration.api.write_document` writes docs/openapi.json and docs/api.md (`make openapi`)."""

import sys
from pathlib import Path
from typing import Final

from orchestration.api.application import routes
from orchestration.api.document import document, text
from orchestration.api.reference import reference

DOCS: Final = Path("docs")


def main() -> None:
    """Write the files below the working directory."""
    found = document(routes())
    for name, content in (("openapi.json", text(found)), ("api.md", reference(found))):
        (DOCS / name).write_text(content, encoding="utf-8")
        sys.stdout.write(f"{DOCS / name}\n")


if __name__ == "__main__":
    main()
