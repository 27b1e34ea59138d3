"""Holds processes of a stack at a named point (`holding.hold`)."""
