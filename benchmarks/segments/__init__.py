"""Rules over a stream of events: the fold alone, with a broker, and compared with Faust and Kafka Streams."""
