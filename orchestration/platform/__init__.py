"""Foundation of every process: settings, clock, logs, metrics."""
