"""What every process of the product starts from: settings, clock, logs, metrics."""
