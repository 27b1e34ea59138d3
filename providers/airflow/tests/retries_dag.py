"""An import whose first try does not hear that its job has started, and a query."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Context, dag

import muster
from muster_airflow.operators import MusterImportOperator, MusterSqlOperator


class ImportWithALostAnswer(MusterImportOperator):
    """Loses the answer to the request of the first try."""

    def execute(self, context: Context) -> Any:
        self._try = context["ti"].try_number
        return super().execute(context)

    def _start(self, client: muster.Client, key: str) -> str:
        job = super()._start(client, key)
        if self._try == 1:
            Path(__file__).with_name("lost").write_text(job)
            raise muster.ApiError("API_UNREACHABLE", "the answer was lost", kind="retriable")
        return job


@dag(schedule=None)
def retries() -> None:
    imported = ImportWithALostAnswer(
        task_id="import",
        audience="retried",
        source="s3://shop/retried.csv",
        options={"settings": {"id_column": "email"}, "again": True},  # the key alone prevents a second import
        retries=1,
        retry_delay=timedelta(0),
    )
    sql = "select count(*) as users, '{{ ds }}' as day from audience('retried')"
    imported >> MusterSqlOperator(task_id="count", sql=sql)


retries()
