"""How programs reach Kafka and the object store, past the service: for those who run the deployment."""

from typing import Final

from orchestration.access.guard import reads
from orchestration.access.pages import Record
from orchestration.access.policy import Action
from orchestration.access.views.deployment import DeploymentView
from orchestration.operations.connecting import FORMS, addresses, snippet

KEYS_FILE: Final = "muster.keys"


class ConnectionsView(DeploymentView):
    """The same as `muster connect`: names of variables, never keys."""

    @reads(Action.READ_DEPLOYMENT)
    def connections(self) -> Record:
        """{addresses, snippets by kind}, with the object store as clients reach it."""
        settings = self._stores.settings
        seen = settings.with_(s3_endpoint=settings.s3_public_endpoint or settings.s3_endpoint)
        found = addresses(seen)
        named = {
            "kafka": found.kafka,
            "topics": ", ".join(found.topics),
            "s3": found.s3 or "AWS",
            "region": found.s3_region,
            "inbox": found.inbox,
            "lake": found.lake,
        }
        return {"addresses": named, "snippets": {kind: snippet(seen, kind, KEYS_FILE) for kind in FORMS}}
