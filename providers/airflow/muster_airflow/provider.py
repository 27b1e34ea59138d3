"""What Airflow asks every provider: which type of connection it adds."""

from importlib.metadata import version
from typing import Any, Final

DISTRIBUTION: Final = "muster-airflow"


def get_provider_info() -> dict[str, Any]:
    """See https://airflow.apache.org/docs/apache-airflow-providers/howto/create-custom-providers.html."""
    return {
        "package-name": DISTRIBUTION,
        "name": "Muster",
        "description": "Imports, exports and queries of Muster.",
        "versions": [version(DISTRIBUTION)],
        "connection-types": [{"connection-type": "muster", "hook-class-name": "muster_airflow.hook.MusterHook"}],
    }
