"""Builds the site of the documentation from docs/, the commands and the OpenAPI document (`make docs`)."""
