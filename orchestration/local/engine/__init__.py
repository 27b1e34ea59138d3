"""A local AWS Step Functions: moto's interpreter, with Lambda and ECS really run as processes."""
