"""The control plane: carries progress from Kafka to the catalog and Step Functions, and decisions back to Kafka.

It is level-triggered: it acts on the current state, not on events, and repeats an action until it has taken effect.
Several instances may run at once; every action is idempotent.
"""
