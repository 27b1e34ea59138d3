"""Principals, grants and tokens in the catalog, on every database that may hold it."""

import threading
from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from orchestration.access.grants import check_administrators
from orchestration.catalog import migrate
from orchestration.catalog.access_records import ApiToken, Session
from orchestration.catalog.api_tokens import TokenStore
from orchestration.catalog.audit import AuditEntry, AuditTrail
from orchestration.catalog.engine import Database
from orchestration.catalog.identities import IdentityStore
from orchestration.catalog.one_time_codes import OneTimeCodes
from orchestration.catalog.principals import GROUP_ROLES_MS, PrincipalStore
from orchestration.catalog.sessions import SessionStore
from orchestration.catalog.tables import metadata
from orchestration.control.gc.access import SESSIONS_MS, TOKENS_MS, EndedAccess
from orchestration.platform.clock import iso, now_ms
from orchestration.platform.settings import Secret
from orchestration.records.access import Grants, Principal
from schemas.errors import MusterError, UserError
from schemas.ids import JobId, TenantName
from tests.contract.test_catalog import database, job_number, url  # noqa: F401  # fixtures

ACME, BETA = TenantName("acme"), TenantName("beta")
ANN, BOB = job_number(1), job_number(2)


def unchecked(before: Grants, after: Grants) -> None:
    """Allow every change."""


@pytest.fixture
def principals(database: Database) -> PrincipalStore:  # noqa: F811
    store = PrincipalStore(database)
    for principal_id, name in ((ANN, "ann"), (BOB, "bob")):
        store.add(principal_id, kind="person", name=name, now_ms=1)
    return store


@pytest.fixture
def tokens(database: Database, principals: PrincipalStore) -> TokenStore:  # noqa: F811
    return TokenStore(database)


def token(number: int, owner: JobId = ANN, cap: Sequence[tuple[str, str]] = ((ACME, "viewer"),)) -> ApiToken:
    return ApiToken(
        token_id=job_number(number),
        principal_id=owner,
        name=f"token {number}",
        digest=f"{number:064x}",
        created_at_ms=number,
        expires_at_ms=number + 100,
        revoked_at_ms=None,
        cap=tuple(cap),
    )


def test_a_name_belongs_to_one_principal(principals: PrincipalStore) -> None:
    with pytest.raises(UserError) as refused:
        principals.add(job_number(3), kind="service", name="ann", now_ms=1)
    assert refused.value.code == "PRINCIPAL_EXISTS"
    assert [one.name for one in principals.page(limit=9)] == ["ann", "bob"]
    assert [one.name for one in principals.page(after="ann", limit=1)] == ["bob"]
    assert principals.named("carol") is None


def test_grants_are_replaced_per_scope(principals: PrincipalStore) -> None:
    principals.replace_grants(BETA, {ANN: ["viewer"]}, now_ms=1, check=unchecked)
    principals.replace_grants(ACME, {ANN: ["viewer", "analyst"], BOB: ["admin"]}, now_ms=1, check=unchecked)
    before, after = principals.replace_grants(ACME, {ANN: ["analyst", "operator"]}, now_ms=2, check=unchecked)
    assert [(one.name, one.roles) for one in before.items] == [("ann", ["analyst", "viewer"]), ("bob", ["admin"])]
    assert [(one.name, one.roles) for one in after.items] == [("ann", ["analyst", "operator"])]
    assert principals.grants(ACME) == after
    assert [one.roles for one in principals.grants(BETA).items] == [["viewer"]]


def test_a_refused_change_of_grants_changes_nothing(principals: PrincipalStore) -> None:
    principals.replace_grants(ACME, {ANN: ["admin"]}, now_ms=1, check=unchecked)
    held = principals.grants(ACME)
    for wanted, check in (({BOB: ["viewer"]}, check_administrators), ({job_number(9): ["admin"]}, unchecked)):
        with pytest.raises(UserError):
            principals.replace_grants(ACME, wanted, now_ms=2, check=check)
    assert principals.grants(ACME) == held


def test_losing_all_access_removes_roles_and_tokens_except_of_the_last_administrator(
    principals: PrincipalStore,
    tokens: TokenStore,
) -> None:
    principals.replace_grants(ACME, {ANN: ["admin"], BOB: ["viewer"]}, now_ms=1, check=unchecked)
    principals.replace_grants(BETA, {BOB: ["admin"], ANN: ["admin"]}, now_ms=1, check=unchecked)
    made = token(30, BOB)
    tokens.add(made)
    with pytest.raises(UserError) as refused:
        principals.withdraw(ANN, now_ms=7, check=check_administrators)
    assert refused.value.code == "LAST_ADMINISTRATOR"
    assert len(principals.granted(ANN)) == 2
    assert principals.withdraw(BOB, now_ms=7, check=check_administrators) == {(ACME, "viewer"), (BETA, "admin")}
    assert (principals.granted(BOB), len(principals.granted(ANN))) == (frozenset(), 2)
    [left] = tokens.page(principal_id=BOB, limit=9)
    assert left.revoked_at == iso(7)
    with pytest.raises(UserError) as unknown:
        principals.withdraw(job_number(9), now_ms=7, check=unchecked)
    assert unknown.value.code == "UNKNOWN_PRINCIPAL"


def test_one_of_two_administrators_survives_a_mutual_removal(principals: PrincipalStore) -> None:
    principals.replace_grants(ACME, {ANN: ["admin"], BOB: ["admin"]}, now_ms=1, check=unchecked)
    start, refused = threading.Barrier(2), []

    def remove(other: JobId) -> None:
        def check(before: Grants, after: Grants) -> None:
            if other not in {one.principal for one in before.items}:
                raise UserError("STALE", "the other one was faster")
            check_administrators(before, after)

        start.wait()
        try:
            principals.replace_grants(ACME, {BOB if other == ANN else ANN: ["admin"]}, now_ms=2, check=check)
        except MusterError as exc:
            refused.append(exc.code)

    threads = [threading.Thread(target=remove, args=(other,)) for other in (ANN, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(principals.grants(ACME).items) == 1
    assert refused in ([], ["STALE"])


def test_token_is_loaded_with_its_owner_and_current_grants(principals: PrincipalStore, tokens: TokenStore) -> None:
    cap = ((ACME, "viewer"), (BETA, "analyst"))
    tokens.add(token(11, cap=cap))
    tokens.add(token(12, BOB))
    principals.replace_grants(ACME, {ANN: ["admin"], BOB: ["viewer"]}, now_ms=1, check=unchecked)
    found = tokens.credentials(job_number(11))
    assert found is not None
    assert (found.token, found.principal.name) == (token(11, cap=cap), "ann")
    assert found.granted == {(ACME, "admin")}
    assert tokens.credentials(job_number(13)) is None


def test_tokens_are_listed_by_owner_and_by_scope_newest_first(tokens: TokenStore) -> None:
    for one in (token(11), token(12, BOB), token(13, cap=((BETA, "viewer"), (ACME, "admin"))), token(14, BOB, ())):
        tokens.add(one)
    assert [one.token for one in tokens.page(limit=9)] == [job_number(n) for n in (14, 13, 12, 11)]
    assert [one.token for one in tokens.page(principal_id=ANN, limit=9)] == [job_number(13), job_number(11)]
    assert [one.token for one in tokens.page(scope=ACME, limit=2)] == [job_number(13), job_number(12)]
    assert [one.token for one in tokens.page(scope=ACME, before=job_number(12), limit=9)] == [job_number(11)]
    assert [one.tenants for one in tokens.page(scope=BETA, limit=9)] == [{BETA: ["viewer"]}]
    assert tokens.page(limit=2)[1].tenants == {ACME: ["admin"], BETA: ["viewer"]}


def test_token_is_revoked_once_and_only_by_a_named_owner(tokens: TokenStore) -> None:
    tokens.add(token(11))
    with pytest.raises(UserError) as refused:
        tokens.revoke(job_number(11), principal_id=BOB, now_ms=5)
    assert refused.value.code == "UNKNOWN_TOKEN"
    assert tokens.revoke(job_number(11), principal_id=ANN, now_ms=5).revoked_at == iso(5)
    assert tokens.revoke(job_number(11), now_ms=6).revoked_at == iso(5)


def test_removing_the_last_scope_revokes_a_token(tokens: TokenStore) -> None:
    tokens.add(token(11, cap=((ACME, "viewer"), (BETA, "viewer"))))
    assert tokens.revoke_in(job_number(11), ACME, now_ms=5).tenants == {}
    assert tokens.page(limit=1)[0].tenants == {BETA: ["viewer"]}
    with pytest.raises(UserError):
        tokens.revoke_in(job_number(11), ACME, now_ms=5)
    with pytest.raises(UserError):
        tokens.revoke_in(job_number(11), BETA, principal_id=BOB, now_ms=5)
    assert tokens.revoke_in(job_number(11), BETA, now_ms=6).revoked_at == iso(6)


def test_audit_entry_of_the_previous_release_belongs_to_no_tenant(url: Secret, database: Database) -> None:  # noqa: F811
    trail = AuditTrail(database)
    trail.append(AuditEntry(entry_id=job_number(1), at_ms=1, actor="a", action="b", object="acme/c", arguments={}))
    migrate.downgrade(url, "0008")
    migrate.upgrade(url)
    assert [(entry.object, entry.tenant, entry.principal) for entry in trail.search()] == [("acme/c", None, None)]
    assert trail.page(ACME, limit=9) == []


@pytest.fixture
def sessions(database: Database, principals: PrincipalStore) -> SessionStore:  # noqa: F811
    return SessionStore(database)


def session(number: int, owner: JobId = ANN, token_id: JobId | None = None) -> Session:
    return Session(
        session_id=job_number(number),
        principal_id=owner,
        digest=f"{number:064x}",
        token_id=token_id,
        created_at_ms=number,
        seen_at_ms=number,
        expires_at_ms=number + 100,
        revoked_at_ms=None,
    )


def test_session_is_found_by_digest_with_current_grants(
    sessions: SessionStore, principals: PrincipalStore, tokens: TokenStore
) -> None:
    for made in (session(10), session(11, BOB, token_id=job_number(12))):
        sessions.add(made)
        found = sessions.credentials(made.digest)
        assert found
        assert (found.session, found.principal.principal, found.granted) == (made, made.principal_id, frozenset())
        assert found.token is None
    tokens.add(token(12, BOB))
    principals.replace_grants(ACME, {BOB: ["viewer"]}, now_ms=1, check=unchecked)
    found = sessions.credentials(f"{11:064x}")
    assert found
    assert found.granted == {(ACME, "viewer")}
    assert found.token == token(12, BOB)
    assert sessions.credentials("0" * 64) is None


def test_sessions_are_listed_ended_and_purged(sessions: SessionStore) -> None:
    for made in (session(10), session(11), session(12, BOB)):
        sessions.add(made)
    assert [one.session for one in sessions.of(ANN, now_ms=1, limit=9)] == [job_number(11), job_number(10)]
    with pytest.raises(UserError) as refused:
        sessions.revoke(job_number(12), principal_id=ANN, now_ms=5)
    assert refused.value.code == "UNKNOWN_SESSION"
    assert [sessions.revoke(job_number(11), now_ms=at).session for at in (5, 6)] == [job_number(11)] * 2
    assert (left := sessions.credentials(f"{11:064x}"))
    assert left.session.revoked_at_ms == 5
    sessions.touch(job_number(10), 20)
    assert [one.seen_at for one in sessions.of(ANN, now_ms=1, limit=9)] == [iso(20)]
    assert sessions.of(ANN, now_ms=110, limit=9) == []
    sessions.forget(112)
    assert sessions.credentials(f"{11:064x}") is None
    assert sessions.credentials(f"{12:064x}") is not None


def test_code_is_redeemed_once_and_not_after_it_expires(database: Database) -> None:  # noqa: F811
    codes = OneTimeCodes(database)
    for kind, digest in (("console", "a"), ("console", "b"), ("cli", "c"), ("console", "d")):
        codes.put(kind, digest, {"principal": digest}, expires_at_ms=100)  # type: ignore[arg-type]  # of the table above
    taken: list[object] = []
    threads = [threading.Thread(target=lambda: taken.append(codes.take("console", "a", now_ms=99))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken, key=str) == [None] * 7 + [{"principal": "a"}]
    assert codes.take("console", "b", now_ms=100) is None
    assert codes.take("console", "b", now_ms=99) is None
    assert codes.take("console", "c", now_ms=99) is None
    assert codes.take("cli", "c", now_ms=99) == {"principal": "c"}
    codes.forget(101)
    assert codes.take("console", "d", now_ms=99) is None


def test_expired_codes_and_sessions_are_purged(
    database: Database,  # noqa: F811
    tokens: TokenStore,
    sessions: SessionStore,
) -> None:
    codes, tick = OneTimeCodes(database), EndedAccess(tokens, sessions, OneTimeCodes(database)).tick
    tokens.add(token(10))
    sessions.add(session(10))
    codes.put("console", "a", {}, expires_at_ms=110)
    for now, left in ((110, (1, 1, 1)), (111 + SESSIONS_MS - 1, (1, 1, 0)), (111 + TOKENS_MS, (0, 0, 0))):
        tick(now)
        with database.read() as connection:
            counted = [
                connection.scalar(sa.select(sa.func.count()).select_from(metadata.tables[name]))
                for name in ("api_tokens", "sessions", "one_time_codes")
            ]
        assert tuple(counted) == left


def test_old_tokens_are_purged_and_use_is_recorded(tokens: TokenStore) -> None:
    for number in (10, 11):
        tokens.add(token(number))
    tokens.touch(job_number(11), 15)
    tokens.forget(111)
    assert [(one.token, one.used_at) for one in tokens.page(limit=9)] == [(job_number(11), iso(15))]
    assert tokens.credentials(job_number(10)) is None


def test_person_is_issuer_and_subject_with_group_roles_of_the_last_login(
    database: Database,  # noqa: F811
    principals: PrincipalStore,
) -> None:
    store = IdentityStore(database)

    def enter(issuer: str, subject: str, roles: set[tuple[str, str]], number: int, name: str = "ann") -> Principal:
        return store.enter(issuer, subject, name=name, roles=roles, new_id=job_number(number), now_ms=now_ms())

    first = enter("https://a", "1", {(ACME, "viewer"), ("", "admin")}, 20)
    others = [enter("https://a", "2", set(), 21), enter("https://b", "1", set(), 22, "x" * 200)]
    assert len({one.principal for one in (first, *others)}) == 3
    assert first.name == f"ann {first.principal[-10:]}"
    assert [len(one.name) for one in others] == [14, 100]
    assert principals.granted(JobId(first.principal)) == {(ACME, "viewer"), ("", "admin")}
    principals.replace_grants(ACME, {JobId(first.principal): ["analyst"]}, now_ms=1, check=unchecked)
    (held,) = principals.grants(ACME).items
    assert (held.principal, held.roles, held.group_roles) == (first.principal, ["analyst"], ["viewer"])
    assert enter("https://a", "1", {(BETA, "viewer")}, 30, "renamed") == first
    assert principals.granted(JobId(first.principal)) == {(ACME, "analyst"), (BETA, "viewer")}
    assert principals.grants("").items == []


def test_group_administrator_counts_and_survives_a_replacement_of_grants(
    database: Database,  # noqa: F811
    principals: PrincipalStore,
) -> None:
    principals.replace_grants(ACME, {ANN: ["admin"]}, now_ms=1, check=check_administrators)
    with pytest.raises(UserError):
        principals.replace_grants(ACME, {}, now_ms=2, check=check_administrators)
    made = IdentityStore(database).enter(
        "https://a", "1", name="eve", roles={(ACME, "admin")}, new_id=job_number(20), now_ms=now_ms()
    )
    _, after = principals.replace_grants(ACME, {}, now_ms=2, check=check_administrators)
    assert [(one.principal, one.roles, one.group_roles) for one in after.items] == [(made.principal, [], ["admin"])]


def test_concurrent_logins_of_a_person_are_one_principal(
    database: Database,  # noqa: F811
    principals: PrincipalStore,
) -> None:
    store, made = IdentityStore(database), list[Principal]()

    def enter(number: int) -> None:
        made.append(store.enter("https://a", "1", name="eve", roles=(), new_id=job_number(number), now_ms=1))

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(20, 28)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.principal for one in made}) == 1
    assert len(principals.page(limit=9)) == 3


def test_group_roles_expire_thirty_days_after_the_last_login(
    database: Database,  # noqa: F811
    principals: PrincipalStore,
) -> None:
    for number, age_ms, left in ((20, GROUP_ROLES_MS - 60_000, {(ACME, "admin")}), (21, GROUP_ROLES_MS, set())):
        made = IdentityStore(database).enter(
            "https://a",
            str(number),
            name=str(number),
            roles={(ACME, "admin")},
            new_id=job_number(number),
            now_ms=now_ms() - age_ms,
        )
        assert principals.granted(JobId(made.principal)) == left
    assert [one.name for one in principals.grants(ACME).items] == ["20"]
