"""The caller's own account: sessions, and the code that gets a token into a browser."""

from collections.abc import Sequence
from typing import Final

from orchestration.access.authentication import Caller
from orchestration.access.console_codes import LIFE_MS, make_console_code
from orchestration.access.guard import Entry, View, reads, recorded
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.request_ids import session_id
from orchestration.access.sessions import is_valid, session_record
from orchestration.composition.service import Services
from orchestration.platform.clock import iso, now_ms
from orchestration.platform.settings import Secret

MANY: Final = 500


class AccountView(View):
    """The account of one caller."""

    def __init__(self, services: Services, caller: Caller) -> None:
        super().__init__(services, caller, tenant=None)

    @reads(Action.OWN_ACCOUNT)
    def sessions(self) -> Sequence[Record]:
        """The caller's sessions that have not ended, newest first."""
        at_ms = now_ms()
        found = self._services.sessions.of(self._caller.principal.principal_id, now_ms=at_ms, limit=MANY)
        return [session_record(one) for one in found if is_valid(one, at_ms)]

    @recorded(Action.OWN_ACCOUNT, "sessions end")
    def end_session(self, entry: Entry, id_: str) -> Record:
        """End a session of the caller; those who manage access end any. Raises `UserError` UNKNOWN_SESSION."""
        entry.object, entry.arguments = "sessions", {"session": id_[:26]}
        own = None if Action.MANAGE_ACCESS in self.permitted else self._caller.principal.principal_id
        found = self._services.sessions.revoke(session_id(id_), principal_id=own, now_ms=now_ms())
        entry.after = session_record(found)
        return entry.after

    @recorded(Action.OWN_ACCOUNT, "logout")
    def log_out(self, entry: Entry) -> None:
        """End the session of the caller; no effect with a token."""
        entry.object = "sessions"
        if (session := self._caller.session) is not None:
            self._services.sessions.revoke(session.session_id, now_ms=now_ms())

    @recorded(Action.OWN_ACCOUNT, "console")
    def create_console_code(self, entry: Entry) -> tuple[Record, Secret]:
        """A code that becomes a session with the caller's rights, and when it ends."""
        entry.object, at_ms = "sessions", now_ms()
        code = make_console_code(self._services, self._caller, now_ms=at_ms)
        return {"expires_at": iso(at_ms + LIFE_MS)}, code
