"""The policy is the table in docs/access.md, and every action in it is used by a view."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from orchestration.access import views
from orchestration.access.guard import OF_USERS, View, action_of, reads
from orchestration.access.policy import (
    DEPLOYMENT,
    DEPLOYMENT_ROLES,
    IN_A_TENANT,
    IN_EVERY_TENANT,
    IN_THE_DEPLOYMENT,
    TENANT_ROLES,
    Action,
    Rights,
    known_role,
)
from schemas.ids import TenantName
from tests.packages import modules_of

ROOT = Path(__file__).parents[4]
ACME, BETA = TenantName("acme"), TenantName("beta")


def tables(text: str) -> list[list[list[str]]]:
    """Markdown tables as rows of cells, without the rule below the head."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = [[[c.strip() for c in line[1:-1].split("|")] for line in block.strip().splitlines()] for block in blocks]
    return [[row for row in table if set("".join(row)) != {"-"}] for table in rows]


def methods(view: type[View]) -> dict[str, object]:
    """Public methods that a view defines."""
    return {name: value for name, value in vars(view).items() if callable(value) and not name.startswith("_")}


def views_in(package: ModuleType) -> list[type[View]]:
    """All views of the package's modules."""
    found = {value for module in modules_of(package) for value in vars(module).values() if isinstance(value, type)}
    return sorted((one for one in found if issubclass(one, View) and one is not View), key=lambda one: one.__name__)


VIEWS = views_in(views)


def test_the_table_in_the_docs_is_the_policy() -> None:
    in_tenant, in_deployment, *_ = tables((ROOT / "docs" / "access.md").read_text())
    for table, roles, policy in (
        (in_tenant, TENANT_ROLES, IN_A_TENANT),
        (in_deployment, DEPLOYMENT_ROLES, IN_THE_DEPLOYMENT),
    ):
        assert table[0] == ["action", *roles]
        assert table[1:] == [
            [action.covers, *("x" if role in allowed else "" for role in roles)] for action, allowed in policy.items()
        ]


def test_deployment_administrator_can_do_everything_and_operator_can_read_jobs() -> None:
    admin, operator = (Rights.of([(DEPLOYMENT, role)]) for role in ("admin", "operator"))
    assert admin.in_tenant(ACME) == IN_A_TENANT.keys() == IN_EVERY_TENANT.keys()
    assert admin.deployment == IN_THE_DEPLOYMENT.keys()
    assert operator.in_tenant(ACME) == {Action.READ_JOBS}
    assert operator.deployment == {Action.OWN_ACCOUNT, Action.READ_DEPLOYMENT}


def test_roles_add_up_in_their_tenant_and_reach_no_other() -> None:
    rights = Rights.of([(ACME, "analyst"), (ACME, "operator")])
    assert rights.in_tenant(ACME) >= {Action.WRITE_SEGMENTS}
    assert Action.MANAGE_AUDIENCES not in rights.in_tenant(ACME)
    assert rights.in_tenant(BETA) == frozenset()
    assert rights.deployment == {Action.OWN_ACCOUNT}


def test_an_unknown_role_grants_nothing() -> None:
    assert Rights.of([(ACME, "emperor"), (DEPLOYMENT, "viewer")]).in_tenant(ACME) == frozenset()
    assert not known_role(DEPLOYMENT, "viewer")
    assert not known_role(ACME, "emperor")


@pytest.mark.parametrize(
    ("cap", "granted", "in_acme"),
    [
        ([(ACME, "viewer")], [(ACME, "admin")], {Action.OWN_ACCOUNT, Action.READ_JOBS, Action.READ}),
        ([(ACME, "admin")], [(ACME, "viewer")], {Action.OWN_ACCOUNT, Action.READ_JOBS, Action.READ}),
        ([(ACME, "viewer")], [(DEPLOYMENT, "admin")], {Action.OWN_ACCOUNT, Action.READ_JOBS, Action.READ}),
        ([(DEPLOYMENT, "operator")], [(ACME, "viewer")], {Action.READ_JOBS}),
        ([(DEPLOYMENT, "admin")], [(BETA, "admin")], set()),
        ([(BETA, "admin")], [(ACME, "admin")], set()),
        ([], [(ACME, "admin")], set()),
    ],
)
def test_token_can_do_only_actions_allowed_by_both_cap_and_grants(
    cap: list[tuple[str, str]], granted: list[tuple[str, str]], in_acme: set[Action]
) -> None:
    rights = Rights.of(cap).within(Rights.of(granted))
    assert rights == Rights.of(granted).within(Rights.of(cap))
    assert rights.in_tenant(ACME) == in_acme
    assert not rights.exceed(Rights.of(granted))
    assert not rights.exceed(Rights.of(cap))


@pytest.mark.parametrize("wider", [(ACME, "engineer"), (BETA, "viewer"), (DEPLOYMENT, "operator")])
def test_single_extra_right_exceeds_a_limit(wider: tuple[str, str]) -> None:
    held = Rights.of([(ACME, "analyst"), (ACME, "operator")])
    assert Rights.of([(ACME, "operator"), wider]).exceed(held)
    assert not Rights.of([(ACME, "operator")]).exceed(held)
    assert not Rights.of([wider]).exceed(Rights.of([(DEPLOYMENT, "admin")]))


@pytest.mark.parametrize("view", VIEWS)
def test_every_method_of_a_view_requires_an_action(view: type[View]) -> None:
    for method in methods(view).values():
        action_of(method)  # type: ignore[arg-type]


def test_every_action_is_required_by_some_method() -> None:
    used = {action_of(m) for view in VIEWS for m in methods(view).values()}  # type: ignore[arg-type]
    assert used == set(Action)


@pytest.mark.parametrize("action", sorted(OF_USERS))
def test_read_of_users_must_be_recorded(action: Action) -> None:
    with pytest.raises(TypeError, match="shows users"):
        reads(action)


def test_method_without_an_action_is_detected() -> None:
    with pytest.raises(TypeError, match="requires no action"):
        action_of(View.record)


def test_reading_the_deployment_includes_jobs_of_every_tenant() -> None:
    """Its event stream shows them."""
    assert IN_THE_DEPLOYMENT[Action.READ_DEPLOYMENT] <= IN_EVERY_TENANT[Action.READ_JOBS]
