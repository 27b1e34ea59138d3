"""What a caller may see and do, by kind of thing. Views are the only way from the API and the console to the catalog.

Every method requires an action first (`orchestration.access.guard`), and returns records (`orchestration.records`).
"""
