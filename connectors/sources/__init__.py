"""Sources: an untrusted customer file becomes accepted rows and named rejects. Start at `parsing.open_parsed`."""
