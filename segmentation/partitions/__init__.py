"""The segments of all tenants in one partition: what a stream worker keeps, and hands to the next owner."""
