"""What comes over the topics of events and profiles: bytes to rows, or the reason why not. Pure."""
