"""The stages of jobs, one module each, for Lambda handlers and tasks alike. Every stage is idempotent."""
