"""What feeds read from Kafka and the object store, and topics that they deliver to."""
