"""The steps of jobs, one module each: what a Lambda handler and a task do alike. Every step may run twice."""
