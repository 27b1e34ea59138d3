"""A local AWS Step Functions: moto's interpreter, with Lambda and ECS run as real processes."""
