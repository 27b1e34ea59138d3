"""Publishing: accepted rows become chunks between markers on Kafka. Start at `importer.publish_import`."""
