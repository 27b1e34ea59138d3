"""The steps of ExportAudience: resolve and hold a version, plan, write groups in parallel, write the manifest last."""
