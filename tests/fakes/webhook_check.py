"""The webhook check that docs/notifications.md gives to receivers, as a module."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any, Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "notifications.md"


def _of_the_page() -> Any:
    [sample] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("webhook_check")
    exec(compile(sample, str(PAGE), "exec"), vars(module))
    return module


CHECK: Final = _of_the_page()
