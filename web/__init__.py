"""Files of others that the console serves."""
