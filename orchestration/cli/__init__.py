"""The command line. Start at `main.py`; modules load what they need inside the commands, so that help is instant."""
