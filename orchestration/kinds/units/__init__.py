"""Imports that several functions and tasks read side by side, each a unit of the files."""
