"""The steps of ExportAudience: resolve and hold a version, plan, write groups side by side, the manifest last."""
