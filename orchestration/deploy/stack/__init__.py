"""The stack, one module per concern. Logical ids are the words of docs/deploy.md; each has one resource."""
