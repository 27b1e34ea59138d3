"""Fork servers: children are forked from a process with everything loaded, in milliseconds instead of seconds."""
