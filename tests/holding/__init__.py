"""Processes of a stack that are held at a named point (`holding.hold`)."""
