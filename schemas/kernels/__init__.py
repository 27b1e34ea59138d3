"""Functions compiled by numba, on bytes and Arrow buffers: without Python objects, and with the GIL released."""
