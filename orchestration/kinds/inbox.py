"""Folders of the inbox that are one import: `<tenant>/<audience>/<name>/`, once its `_SUCCESS` has come.

Whether an event concerns such a folder is decided by its key, before the catalog is asked: most have none.
"""

from dataclasses import dataclass, replace
from typing import Self

from orchestration.catalog.audiences import AudienceStore
from orchestration.kinds.events import ImportRequest
from schemas.errors import UserError
from schemas.file_lists import SUCCESS
from schemas.ids import audience_name, tenant_name


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxFolder:
    """A folder of an audience's inbox: its key, which ends with `/`, and the rest of the key of an object in it."""

    key: str
    rest: str

    @classmethod
    def of(cls, key: str, own: str) -> Self | None:
        """The folder of an object. `own`: the key of the audience's inbox. None for an object right in that."""
        name, slash, rest = key.removeprefix(own).partition("/")
        return cls(key=f"{own}{name}/", rest=rest) if key.startswith(own) and name and slash and rest else None


def inbox_of(prefix: str, tenant: str, audience: str) -> str:
    """The key of an audience's inbox. `prefix`: the prefix of inbox keys, before the tenant."""
    return f"{prefix}{tenant}/{audience}/"


def of_folders(request: ImportRequest, prefix: str, audiences: AudienceStore) -> ImportRequest | None:
    """The request of an event: that of its folder if the audience imports folders and this is its `_SUCCESS`.

    None for other objects of such a folder: they wait for it.
    """
    folder = InboxFolder.of(request.key, inbox_of(prefix, request.tenant, request.audience))
    if folder is None:
        return request
    try:
        audience = audiences.find(tenant_name(request.tenant), audience_name(request.audience))
    except UserError:  # a name that registration refuses
        return request
    if audience is None or audience.folders == "files":
        return request
    return replace(request, key=folder.key, form="prefix", version_id=None) if folder.rest == SUCCESS else None
