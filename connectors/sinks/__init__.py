"""Where exported audiences go."""
