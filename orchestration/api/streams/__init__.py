"""Event streams: one watcher reads the catalog and shows what has changed to all who listen."""
