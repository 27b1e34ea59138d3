"""The job catalog: audiences, jobs, attempts, history, progress, receipts, in any SQLAlchemy database."""
