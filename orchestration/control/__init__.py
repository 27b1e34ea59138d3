"""The relay: brings what the stream says to the catalog and to Step Functions, and what the catalog says to Kafka.

Level-triggered throughout: it looks at how things are, not at what it was told, and says it again until it has worked.
Several relays may run at once; all they do may be done twice.
"""
