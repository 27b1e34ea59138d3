"""Evaluates rules over a stream: the current members of each segment, for one tenant and one partition."""
