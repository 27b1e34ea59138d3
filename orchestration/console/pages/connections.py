"""How programs reach Muster: snippets to copy. They name variables and hold no keys."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.access.policy import Action
from orchestration.access.views.connections import Connections
from orchestration.access.views.tenant import TenantView
from orchestration.api.service import service_of
from orchestration.console.context import PageContext, ask
from orchestration.console.frame import frame_of
from orchestration.console.paths import IN_TENANT, in_tenant
from orchestration.console.rendering import shown
from orchestration.records.connections import Snippet
from schemas.records import as_record

ASKED: Final = "SELECT count(*) FROM audience('vip')"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsPage:
    """`addresses`, `beside`: of the deployment, for those who run it. Titles of snippets are `connections.TOOL`."""

    url: str
    tokens_path: str
    snippets: Sequence[Snippet]
    addresses: Sequence[tuple[str, str]]
    beside: Sequence[Snippet]


async def show_connections(request: Request) -> Response:
    """The page."""
    url = service_of(request).site.url

    def call(context: PageContext) -> Response:
        frame, permitted = frame_of(request, context, "connections"), context.view(TenantView).permitted
        context.view(TenantView).require(Action.OWN_ACCOUNT)
        page = ConnectionsPage(
            url=url,
            tokens_path=in_tenant(context.tenant, "tokens"),
            snippets=snippets_of(url, context.tenant, permitted),
            addresses=(),
            beside=(),
        )
        if Action.READ_DEPLOYMENT in context.deployment.permitted:
            found = context.in_deployment(Connections).get_connections(tenant=context.tenant)
            page = replace(
                page,
                addresses=[(name, value) for name, value in as_record(found.addresses).items() if name != "api"],
                beside=found.snippets,
            )
        return shown("connections.html", frame, page)

    return await ask(request, call)


def snippets_of(url: str, tenant: str, permitted: frozenset[Action]) -> list[Snippet]:
    """Snippets for the service, with what the reader may do."""
    runs, queries = Action.RUN_JOBS in permitted, Action.READ_USERS in permitted
    cli = [
        f"muster login {url}",
        f"muster jobs list --tenant {tenant}",
        *([f"muster import people.csv --tenant {tenant} --audience vip --wait"] if runs else []),
        *([f'muster sql "{ASKED}" --tenant {tenant} --csv'] if queries else []),
    ]
    body = json.dumps({"sql": ASKED}).replace("'", "\\u0027")  # as it can stand in a shell's quotes
    of_tenant = f"{url}/v1/tenants/{tenant}"
    send = "curl --fail-with-body -H @muster-token-header"
    curl = [  # a file, since other users of the machine can read the command line
        '(umask 077; echo "Authorization: Bearer $MUSTER_TOKEN" > muster-token-header)',
        f"{send} {of_tenant}/jobs",
        *(
            [
                f"{send} -H 'Content-Type: application/json' \\",
                f"    -d '{body}' {of_tenant}/queries",
            ]
            if queries
            else []
        ),
    ]
    python = [
        "import os",
        "",
        "import muster",
        "",
        f'access = muster.Access(url="{url}", token=os.environ["MUSTER_TOKEN"])',
        "with muster.Client(access) as client:",
        f'    for job in client.jobs("{tenant}"):',
        '        print(job["state"], job["audience"])',
        *([f'    print(client.query("{tenant}", "{ASKED}")["rows"])'] if queries else []),
    ]
    found = {"environment": [f"export MUSTER_API_URL={url}", "read -rs MUSTER_TOKEN && export MUSTER_TOKEN"]}
    found |= {"cli": cli, "curl": curl, "python": python}
    if runs:  # the files that the manifest lists, and no others
        files = "SELECT list('vip/' || file.key) FROM (SELECT unnest(files) AS file FROM 'vip/manifest.json')"
        found["files"] = [
            f"muster export vip --tenant {tenant} --to vip",
            f'duckdb -c "SET VARIABLE files = ({files});',
            "    SELECT count(*) FROM read_parquet(getvariable('files'))\"",
        ]
    return [Snippet(tool=name, text="\n".join(lines) + "\n") for name, lines in found.items()]


ROUTES: Final = (Route(f"{IN_TENANT}/connections", show_connections),)
