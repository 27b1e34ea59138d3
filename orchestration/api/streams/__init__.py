"""Event streams: one watcher reads the catalog and shows changes to all listeners."""
