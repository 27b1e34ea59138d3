"""Commands that bypass the service: they work on the catalog, the lake, files or the deployment themselves."""
