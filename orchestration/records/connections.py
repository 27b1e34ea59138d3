"""How programs connect."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from orchestration.records.fields import About, Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """`s3`: the endpoint of the object store, or AWS; `inbox`: where an uploaded file starts its import."""

    api: str
    kafka: str
    topics: Annotated[str, About("Of events and profiles.")]
    s3: str
    region: str
    inbox: str
    lake: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """Lines to copy."""

    tool: Annotated[str, About("shell, duckdb, boto3, aws, kafka, trino or athena; more may come.")]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """Addresses of the deployment and snippets, which name variables for keys."""

    addresses: Addresses
    snippets: Sequence[Snippet]
    example: ClassVar[Example] = {
        "addresses": {
            "api": "https://muster.example",
            "kafka": "kafka-1:9093,kafka-2:9093",
            "topics": "muster.events, muster.profiles",
            "s3": "AWS",
            "region": "eu-central-1",
            "inbox": "s3://inbox/<tenant>/<audience>/<file>",
            "lake": "s3://lake/",
        },
        "snippets": [
            {
                "tool": "duckdb",
                "text": "CREATE SECRET (TYPE s3, PROVIDER credential_chain, REGION 'eu-central-1');\n",
            }
        ],
    }
