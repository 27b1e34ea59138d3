"""The segments of all tenants in one partition: the state that a stream worker keeps and passes to the next owner."""
