"""How many examples Hypothesis tries, in one place: `check` in `make test`, `thorough` in `make test-faults`.

`check` tries the same examples every time, so that an unrelated change never fails because of other examples.
`thorough` draws new ones, ten times as many, and prints how to repeat one that fails; it then becomes an `@example` or
a test of its own. Neither measures time, which depends more on the machine than on the code.
"""

from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings

CHECK: Final = "check"
THOROUGH: Final = "thorough"
UNSHRUNK: Final = "unshrunk"
"""`check` for mutants: one failing example is enough, and finding the smallest takes a hundred times as long."""


def _register() -> None:
    """Register the profiles and load `check`, which applies unless `--hypothesis-profile` names another."""
    settings.register_profile(
        CHECK,
        max_examples=100,
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],  # time only; filtered and too large examples are still checked
    )
    settings.register_profile(THOROUGH, settings.get_profile(CHECK), max_examples=1_000, derandomize=False)
    settings.register_profile(UNSHRUNK, settings.get_profile(CHECK), phases=[Phase.explicit, Phase.generate])
    settings.load_profile(CHECK)


def examples(in_check: int, **more: Any) -> settings:
    """`in_check` examples in `check`, and proportionally more in a profile with more examples."""
    usual, chosen = settings.get_profile(CHECK), settings()
    assert usual is not None
    return settings(max_examples=in_check * chosen.max_examples // usual.max_examples, **more)


_register()  # on import: every module with a property gets the profiles, with or without pytest
