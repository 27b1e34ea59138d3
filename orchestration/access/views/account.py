"""The caller: who it is, its sessions, and the code that gets a token into a browser."""

from typing import Final

from orchestration.access.console_codes import LIFE_MS, make_console_code
from orchestration.access.guard import Entry, reads, recorded
from orchestration.access.policy import Action
from orchestration.access.request_ids import session_id
from orchestration.access.views.deployment import DeploymentView
from orchestration.platform.clock import iso, now_ms
from orchestration.platform.settings import Secret
from orchestration.records.access import Me, Rights, Session
from orchestration.records.fields import extended

MANY: Final = 500


class Account(DeploymentView):
    """The account of one caller."""

    @reads(Action.OWN_ACCOUNT, "GET /me")
    def get_me(self) -> Me:
        """The caller: principal, token, and rights at this moment."""
        caller, rights = self._caller, self._caller.rights
        return extended(
            Me,
            caller.principal,
            token=None if caller.token is None else caller.token.shown(),
            session=None if caller.session is None else caller.session.shown(),
            rights=Rights(
                deployment=sorted(rights.deployment),
                every_tenant=sorted(rights.everywhere),
                tenants={tenant: sorted(actions) for tenant, actions in rights.tenants.items()},
            ),
        )

    @recorded(Action.OWN_ACCOUNT, "logout")
    def log_out(self, entry: Entry) -> None:
        """End the session of the caller; no effect with a token."""
        entry.object = "sessions"
        if (session := self._caller.session) is not None:
            self._services.sessions.revoke(session.session_id, now_ms=now_ms())

    @recorded(Action.OWN_ACCOUNT, "console")
    def create_console_code(self, entry: Entry) -> tuple[str, Secret]:
        """When a code that becomes a session with the caller's rights ends, and the code."""
        entry.object, at_ms = "sessions", now_ms()
        code = make_console_code(self._services, self._caller, now_ms=at_ms)
        return iso(at_ms + LIFE_MS), code


class Sessions(DeploymentView):
    """Sessions of browsers."""

    @reads(Action.OWN_ACCOUNT, "GET /sessions")
    def list_sessions(self) -> list[Session]:
        """The caller's sessions that have not ended, newest first."""
        return self._services.sessions.of(self._caller.principal_id, now_ms=now_ms(), limit=MANY)

    @recorded(Action.OWN_ACCOUNT, "sessions end", "DELETE /sessions/{session}")
    def end_session(self, entry: Entry, session: str) -> Session:
        """End a session of the caller; an administrator of the deployment ends any."""
        entry.object, entry.arguments = "sessions", {"session": session[:26]}
        entry.after = found = self._services.sessions.revoke(
            session_id(session), principal_id=self._only_own, now_ms=now_ms()
        )
        return found
