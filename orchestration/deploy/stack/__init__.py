"""The stack, by what belongs together. Logical ids are the words of docs/deploy.md; each has one resource."""
