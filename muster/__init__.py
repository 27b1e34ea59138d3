"""A client of the API for programs, and for the command line. Standard library only.

from muster import Client, find_access

with Client(find_access()) as muster:
for job in muster.jobs("acme", state=["FAILED"]):
print(job["job"], job["error"])
"""

from muster.access import Access, find_access, forget_access, save_access
from muster.client import Client
from muster.errors import ApiError

__all__ = ["Access", "ApiError", "Client", "find_access", "forget_access", "save_access"]
