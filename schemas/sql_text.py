"""Names in the text of SQL. Values are never put into it: they are bound as parameters."""


def identifier(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
