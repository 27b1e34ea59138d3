"""How many examples Hypothesis tries, in one place: `check` in `make test`, `thorough` in `make test-faults`.

`check` tries the same examples every time: an unrelated change is never red because other examples were drawn.
`thorough` draws new ones, ten times as many, and tells how to try one that fails again; such a one becomes an
`@example` or a case of its own. Neither measures time, which says more of the machine than of the code.
"""

from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings

CHECK: Final = "check"
THOROUGH: Final = "thorough"
UNSHRUNK: Final = "unshrunk"
"""`check` for mutants: that an example fails is enough, and the smallest one takes a hundred times as long to find."""


def _register() -> None:
    """Make them known, and `check` the one that counts where `--hypothesis-profile` names no other."""
    settings.register_profile(
        CHECK,
        max_examples=100,
        derandomize=True,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],  # seconds; what is refused or too large is still looked at
    )
    settings.register_profile(THOROUGH, settings.get_profile(CHECK), max_examples=1_000, derandomize=False)
    settings.register_profile(UNSHRUNK, settings.get_profile(CHECK), phases=[Phase.explicit, Phase.generate])
    settings.load_profile(CHECK)


def examples(in_check: int, **more: Any) -> settings:
    """So many examples in `check`, and as many times more in another profile as it has more."""
    usual, chosen = settings.get_profile(CHECK), settings()
    assert usual is not None
    return settings(max_examples=in_check * chosen.max_examples // usual.max_examples, **more)


_register()  # whoever imports a property finds them, pytest or not
