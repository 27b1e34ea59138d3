"""Clients of Kafka: how they log on, what their errors become, and what can be asked of a cluster."""
