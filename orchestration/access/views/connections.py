"""How programs reach Kafka and the object store, past the service: for those who run the deployment."""

from dataclasses import replace
from typing import Final

from orchestration.access.guard import reads
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.deployment import DeploymentView
from orchestration.operations.connecting import FORMS, Names, addresses, snippet
from schemas.ids import tenant_name

KEYS_FILE: Final = "muster.keys"


class ConnectionsView(DeploymentView):
    """The same as `muster connect`: names of variables, never keys."""

    @reads(Action.READ_DEPLOYMENT)
    def connections(self, tenant: str | None = None) -> Record:
        """{addresses, snippets}, with the object store as clients reach it. `tenant`: whose audiences snippets read.

        Raises `UserError` BAD_NAME.
        """
        names = Names(keys_file=KEYS_FILE)
        if tenant is not None:
            names = replace(names, tenant=tenant_name(tenant))
        settings = self._services.settings
        seen = settings.with_(s3_endpoint=settings.s3_public_endpoint or settings.s3_endpoint)
        found = addresses(seen)
        named = {
            "api": settings.api_public_url or settings.api_url,
            "kafka": found.kafka,
            "topics": ", ".join(found.topics),
            "s3": found.s3 or "AWS",
            "region": found.s3_region,
            "inbox": found.inbox,
            "lake": found.lake,
        }
        return {
            "addresses": named,
            "snippets": [{"tool": kind, "text": snippet(seen, kind, names)} for kind in FORMS],
        }
