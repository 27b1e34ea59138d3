"""Muster in Airflow: `operators` for DAGs, `hook` for tasks of your own. docs/airflow.md explains them.

Reading order: `request_key` and `outcomes` (what a retry repeats, and which failures are retried), `hook`, `triggers`,
`operators`.
"""
