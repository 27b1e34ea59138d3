"""The command line. Start at `main.py`; modules are loaded inside the commands that need them, so help is instant."""
