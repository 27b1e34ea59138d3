"""Rules over a stream of events: who is in a segment now, kept current for one tenant and one partition."""
