"""Rules over a stream of events: the fold alone, with a broker, and against Faust and Kafka Streams."""
