"""How programs reach Kafka and the object store, past the service: for those who run the deployment."""

from dataclasses import replace
from typing import Annotated, Final

from orchestration.access.bodies.common import GRAPHIC
from orchestration.access.guard import reads
from orchestration.access.policy import Action
from orchestration.access.views.deployment import DeploymentView
from orchestration.operations.connecting import FORMS, Names, addresses, snippet
from orchestration.records import connections as answers
from orchestration.records.fields import About
from schemas.ids import tenant_name

KEYS_FILE: Final = "muster.keys"


class Connections(DeploymentView):
    """The same as `muster connect`: names of variables, never keys."""

    @reads(Action.READ_DEPLOYMENT, "GET /connections", problems=("BAD_NAME",))
    def get_connections(
        self,
        *,
        tenant: Annotated[
            str | None, About("Tenant whose audiences the snippets read.", GRAPHIC, max_length=63)
        ] = None,
    ) -> answers.Connections:
        """Addresses of Kafka, the object store and the lake, and snippets that connect programs; without keys."""
        names = Names(keys_file=KEYS_FILE)
        if tenant is not None:
            names = replace(names, tenant=tenant_name(tenant))
        settings = self._services.settings
        seen = settings.with_(s3_endpoint=settings.s3_public_endpoint or settings.s3_endpoint)  # as clients reach it
        found = addresses(seen)
        return answers.Connections(
            addresses=answers.Addresses(
                api=settings.api_public_url or settings.api_url,
                kafka=found.kafka,
                topics=", ".join(found.topics),
                s3=found.s3 or "AWS",
                region=found.s3_region,
                inbox=found.inbox,
                lake=found.lake,
            ),
            snippets=[answers.Snippet(tool=kind, text=snippet(seen, kind, names)) for kind in FORMS],
        )
