"""How many examples Hypothesis tries, in one place: the figure that a test names is that of a profile of a hundred.

`check` (`make test`) tries half of it, the same examples every time, so that an unrelated change never fails because of
other ones. `rotating` (the slice of CI, one file of tests/property a change) tries three times and `thorough`
(`make test-faults`) ten times as many, new ones each time, and prints how to repeat one that fails; it then becomes an
`@example` or a test of its own. None measures time, which depends more on the machine than on the code.
"""

from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings

CHECK: Final = "check"
ROTATING: Final = "rotating"
THOROUGH: Final = "thorough"
UNSHRUNK: Final = "unshrunk"
"""`check` for mutants: one failing example is enough, and finding the smallest takes a hundred times as long."""


def _register() -> None:
    """Register the profiles and load `check`, which applies unless `--hypothesis-profile` names another."""
    settings.register_profile(
        CHECK,
        max_examples=50,
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],  # time only; filtered and too large examples are still checked
    )
    settings.register_profile(ROTATING, settings.get_profile(CHECK), max_examples=300, derandomize=False)
    settings.register_profile(THOROUGH, settings.get_profile(CHECK), max_examples=1_000, derandomize=False)
    settings.register_profile(UNSHRUNK, settings.get_profile(CHECK), phases=[Phase.explicit, Phase.generate])
    settings.load_profile(CHECK)


def examples(of_hundred: int, **more: Any) -> settings:
    """`of_hundred` examples in a profile of a hundred, proportionally fewer or more in others."""
    return settings(max_examples=of_hundred * settings().max_examples // 100, **more)


_register()  # on import: every module with a property gets the profiles, with or without pytest
