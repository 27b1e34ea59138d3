"""Clients of Kafka: how they log on, how their errors translate, and what to ask of a cluster."""
