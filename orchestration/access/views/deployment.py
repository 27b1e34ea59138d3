"""The base of what a caller may see and do in the deployment as a whole."""

from orchestration.access.authentication import Caller
from orchestration.access.guard import View
from orchestration.composition.service import Services


class DeploymentView(View):
    """The deployment as one caller sees it; raises `UserError` FORBIDDEN, `RetriableError` CATALOG_UNAVAILABLE."""

    def __init__(self, services: Services, caller: Caller) -> None:
        super().__init__(services, caller, tenant=None)
