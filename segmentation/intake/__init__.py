"""Decodes the bytes of the topics of events and profiles to rows, or to reasons for refusal. Pure."""
