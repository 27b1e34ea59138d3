"""JSON's names for the Python values read from it."""


def json_type(value: object) -> str:
    """The JSON type of a value in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
