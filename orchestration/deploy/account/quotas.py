"""Quotas of the account: concurrent functions, and processors of Fargate and of machines."""

from collections.abc import Iterator
from math import ceil
from typing import Any, Final

from orchestration.deploy.account.asking import AbsentError, AccountFinding, Clients, asking, note, ok, wrong
from orchestration.deploy.names import names_of
from orchestration.deploy.settings import DeploySettings
from orchestration.workflow.resources import function_specs, share_of

FARGATE: Final = ("fargate", "L-3032A538", "quota of Fargate vCPU")
MACHINES: Final = ("ec2", "L-1216C47A", "quota of On-Demand vCPU")
"""Of the standard families (A, C, D, H, I, M, R, T, Z)."""
FUNCTIONS: Final = "quota of Lambda concurrency"
UNRESERVED: Final = 100
"""Concurrent executions that an account must keep unreserved (Lambda Developer Guide, "Reserved concurrency")."""
CPU_UNITS: Final = 1024


def reserved_functions(settings: DeploySettings) -> int:
    """Concurrent executions that the stack reserves for functions which every uploaded file calls at once."""
    return sum(share_of(settings.function_calls, one.share) for one in function_specs() if one.share is not None)


def fargate_vcpu(settings: DeploySettings) -> int:
    """VCPU of all services, twice while a release rolls over, and of a task for each large job."""
    workers, segment_workers = settings.workers, settings.segment_workers
    services = workers.count * workers.cpu + segment_workers.count * segment_workers.cpu + settings.relay.cpu
    services += settings.feeder.cpu
    services += settings.api.cpu if settings.api.host else 0
    return ceil((2 * services + settings.lanes[False].jobs * settings.tasks.cpu) / CPU_UNITS)


def machine_vcpu(settings: DeploySettings) -> int:
    """VCPU of all machines; each has a little more than its container."""
    return settings.machines.max * ceil((settings.machines.cpu + 1) / CPU_UNITS)


def check_quotas(settings: DeploySettings, clients: Clients) -> Iterator[AccountFinding]:
    """Whether running jobs fit the account."""
    functions = clients("lambda")
    with asking():
        unreserved = functions.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    limit = unreserved + _already_reserved(settings, functions)
    needed = UNRESERVED + reserved_functions(settings)
    if limit < needed:
        yield wrong(
            FUNCTIONS,
            f"{limit} functions may run at once that nothing else reserves; the stack reserves {needed - UNRESERVED}, "
            f"and Lambda keeps {UNRESERVED} unreserved",
            "have it raised (Service Quotas: AWS Lambda, Concurrent executions)",
        )
    else:
        yield ok(FUNCTIONS, f"{limit}, of which the stack needs {needed}")
    quotas = clients("service-quotas")
    yield from _vcpu(quotas, FARGATE, fargate_vcpu(settings))
    yield from _vcpu(quotas, MACHINES, machine_vcpu(settings))


def _already_reserved(settings: DeploySettings, functions: Any) -> int:
    """Concurrent executions that the functions of the stack have reserved, if it is deployed."""
    names = names_of(settings)
    found = 0
    for one in function_specs():
        if one.share is None:
            continue
        try:
            with asking("ResourceNotFoundException"):
                answer = functions.get_function_concurrency(FunctionName=names.of(one.name))
        except AbsentError:
            continue
        found += answer.get("ReservedConcurrentExecutions", 0)
    return found


def _vcpu(quotas: Any, quota: tuple[str, str, str], needed: int) -> Iterator[AccountFinding]:
    service, code, where = quota
    try:
        with asking("NoSuchResourceException"):
            value = quotas.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]["Value"]
    except AbsentError:
        yield note(where, f"AWS does not name it here; the stack may use {needed}", "look in Service Quotas")
        return
    if value < needed:
        yield wrong(where, f"is {value:g}; the stack may use {needed}", f"have {code} raised in Service Quotas")
    else:
        yield ok(where, f"{value:g}, of which the stack may use {needed}")
