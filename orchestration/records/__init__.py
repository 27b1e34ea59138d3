"""Records: what the service answers, one frozen type a noun, from the store to the client."""
