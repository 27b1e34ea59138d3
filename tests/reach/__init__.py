"""What a process of the product can reach in the source, without running it: `test_calls` compares its role."""
