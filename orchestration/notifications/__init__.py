"""Telling people and programs how a job has ended: who is told, the outbox, mail, signed webhooks."""
