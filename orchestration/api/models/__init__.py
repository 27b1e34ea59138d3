"""Schemas of answers that no record describes: those of public operations, and receipts, which are sent as stored."""
