"""Verification: a file is read once, strictly, before a record is sent. Start at `verifier.verify_file`."""
