"""Sources: turn an untrusted customer file into accepted rows and coded rejects. Start at `parsing.open_parsed`."""
