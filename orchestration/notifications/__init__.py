"""Notifications about ended jobs to people and programs: recipients, the outbox, mail, signed webhooks."""
