"""Clients of object stores: how to reach them, how their errors translate, and what to ask of a bucket."""
