"""The state machines, as the very files that go to AWS Step Functions, and the functions they call."""
