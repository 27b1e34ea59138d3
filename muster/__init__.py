"""The Python client of Muster's API. Standard library only.

import muster

with muster.Client(muster.find_access()) as client:
    for job in client.jobs("acme", state=["FAILED"]):
        print(job["job"], job["error"])
"""

__version__ = "0.2.0"

from muster.access import Access, find_access, forget_access, save_access
from muster.client import Client
from muster.errors import ApiError
from muster.following import FINAL_STATES
from muster.waiting import verify

__all__ = ["FINAL_STATES", "Access", "ApiError", "Client", "find_access", "forget_access", "save_access", "verify"]
