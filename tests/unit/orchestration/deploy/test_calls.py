"""Every role has the rights that its process uses, and no others: calls found in the source, against the template."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from orchestration.deploy.checks import load
from orchestration.deploy.synthesis import synthesise
from orchestration.workflow.resources import EVENT_FUNCTION, function_specs
from tests.reach.program import Program
from tests.reach.reaching import Reach, Source
from tests.trees import PACKAGES, ROOT
from tests.unit.orchestration.deploy.conftest import API, EXAMPLE, Template

ENTRYPOINTS = "orchestration.entrypoints."
MAIN = (f"{ENTRYPOINTS}container", "main")
HEALTH = (f"{ENTRYPOINTS}health", "main")
CONTEXT = ("orchestration.composition.context", "Context")
OPERATORS = ("orchestration.cli.admin.deploy", "orchestration.deploy.", "orchestration.local.")
"""Runs with an operator's own credentials, or not at AWS."""
READING = frozenset({"s3:GetObject", "s3:GetObjectVersion"})
S3: Mapping[str, frozenset[str]] = {
    "get_object": READING,
    "head_object": READING,
    "download_file": READING,
    "list_objects_v2": frozenset({"s3:ListBucket"}),
    "list_object_versions": frozenset({"s3:ListBucketVersions"}),
    "put_object": frozenset({"s3:PutObject"}),
    "create_multipart_upload": frozenset({"s3:PutObject"}),
    "upload_part": frozenset({"s3:PutObject"}),
    "complete_multipart_upload": frozenset({"s3:PutObject"}),
    "abort_multipart_upload": frozenset({"s3:AbortMultipartUpload"}),
    "list_parts": frozenset({"s3:ListMultipartUploadParts"}),
    "copy_object": READING | {"s3:PutObject"},
    "delete_object": frozenset({"s3:DeleteObject"}),
    "delete_objects": frozenset({"s3:DeleteObject"}),
    "open_output_stream": frozenset({"s3:PutObject", "s3:AbortMultipartUpload"}),
}
"""Operation of boto3, or method of Arrow's file system -> the actions that it needs."""

BY_NAME = {"stepfunctions": "states", "ecs": "ecs", "scheduler": "scheduler"}
"""Service, by boto3's name -> the prefix of its actions, which are named as its operations."""
OTHERS = {"get_secret_value": "secretsmanager:GetSecretValue", "publish_batch": "sns:Publish"}
DUCKDB = ("connectors.storage.duck", "connect")
ARROW = ("connectors.storage.access", "S3Access.filesystem")
BY_AWS = {
    "ec2:": "Lambda places functions in subnets, and its pollers look at the network",
    "iam:PassRole": "Scheduler keeps the role of its schedule, which a change has to name",
    "kafka:": "Lambda's pollers find the cluster",
    "kms:": "S3, SNS and Secrets Manager decrypt and encrypt for the caller",
    "logs:": "Lambda writes the lines of functions",
    "s3:ListBucket": "without it S3 answers 403 for an object that is missing, and boto3 cannot tell",
    "sqs:SendMessage": "Lambda sends what its function refuses",
    "xray:": "Lambda sends the segments of functions",
}
"""Action, or a service's prefix -> why a role needs it although its code does not call it."""
ROLES = (
    *(
        f"{group}FunctionRole"
        for group in ("Register", "Record", "Await", "Ensure", "Files", "Versions", "Exports", "JobEvents")
    ),
    *(
        "TaskRole",
        "ExportTaskRole",
        "WorkerRole",
        "SegmentWorkerRole",
        "RelayRole",
        "FeederRole",
        "ApiRole",
        "SetupRole",
    ),
)
"""Those that processes of the product run with; the others are of AWS' services."""
PROCESSES: Mapping[str, tuple[tuple[tuple[str, str], ...], tuple[str, ...]]] = {
    "TaskRole": ((CONTEXT, (f"{ENTRYPOINTS}tasks", "run")), ()),
    "ExportTaskRole": ((CONTEXT, (f"{ENTRYPOINTS}tasks", "export_group")), ()),
    "FeederRole": (((f"{ENTRYPOINTS}feeder", "main"),), ()),
    "WorkerRole": ((HEALTH, (f"{ENTRYPOINTS}worker", "main")), ()),
    "SegmentWorkerRole": ((HEALTH, (f"{ENTRYPOINTS}segment_worker", "main")), ()),
    # Administrators run commands in its container.
    "RelayRole": ((HEALTH, (f"{ENTRYPOINTS}control_plane", "main")), ("orchestration.cli.",)),
    # Routes and questions are found by the names of methods and modules.
    "ApiRole": (
        (HEALTH, (f"{ENTRYPOINTS}service", "main")),
        ("orchestration.access.views.", "orchestration.api.", "orchestration.answers."),
    ),
    "SetupRole": (((f"{ENTRYPOINTS}serving", "setup"),), ()),
}
"""Role -> where its processes begin, and modules in which they find things by text."""
IN_IMAGE = frozenset(re.findall(r"! -name (\w+)", (ROOT / "Dockerfile").read_text(encoding="utf-8")))
FILE_IO = ("connectors.lake.file_io", "SharedFileIO.delete")
"""pyiceberg loads it by its name, and deletes metadata after a commit."""
LAKE = ("connectors.storage.access", "S3Access.iceberg_properties")
LOOSE = {
    "RelayRole": {"s3:ListMultipartUploadParts"},  # `sizes` of the segments of a worker, taken for that of uploads
    "SetupRole": READING,  # `get` of a dictionary, taken for that of the object store
}
"""Actions that are reached by the name of a method alone."""


def entries(program: Program, role: str) -> list[tuple[str, str]]:
    """Where the processes of a role begin, and what they load by text."""

    def everything(prefixes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for module in program.names:
            if module.startswith(prefixes) and not module.startswith(OPERATORS):
                for name, body in program.module(module).bodies.items():
                    if isinstance(body, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                        yield module, name
                    if isinstance(body, ast.ClassDef):
                        yield from ((module, f"{name}.{m}") for m in program.members((module, name)))

    from orchestration.deploy.stack.functions import GROUPS

    handlers = {one.name: one.handler for one in (*function_specs(), EVENT_FUNCTION)}
    functions = {f"{group.name}FunctionRole": group.functions for group in GROUPS}
    functions |= {f"{EVENT_FUNCTION.name}FunctionRole": (EVENT_FUNCTION.name,)}
    if role in functions:
        return [MAIN, *((module, name) for f in functions[role] for module, _, name in [handlers[f].rpartition(".")])]
    begins, loads = PROCESSES[role]
    return [MAIN, *begins, *everything(loads)]


def reached(source: Source, role: str) -> Reach:
    """What the processes of a role reach, with what pyiceberg calls if they use it."""
    begins = entries(source.program, role)
    found = Reach(source, begins, without=OPERATORS)
    return Reach(source, [*begins, FILE_IO], without=OPERATORS) if LAKE in found.methods else found


def required(reach: Reach, operations: Mapping[str, frozenset[str]]) -> set[str]:
    """The actions behind all calls that are reached."""
    found: set[str] = set()
    known = {"s3", *BY_NAME, "sns", "secretsmanager"}
    assert reach.clients <= known, "name the actions of a new service"
    if "s3" in reach.clients:
        called = reach.attributes & operations["s3"]
        assert called <= S3.keys(), f"name the actions of {called - S3.keys()} in S3"
        found = found.union(*(S3[name] for name in (reach.attributes & S3.keys())))
    if DUCKDB in reach.nodes or ARROW in reach.methods:
        found |= {"s3:GetObject", "s3:ListBucket"}
    for service in reach.clients & BY_NAME.keys():
        called = reach.attributes & operations[service]
        found |= {f"{BY_NAME[service]}:{''.join(word.capitalize() for word in name.split('_'))}" for name in called}
    for name, action in OTHERS.items():
        found |= {action} if name in reach.attributes and action.partition(":")[0] in reach.clients else set()
    return found


@pytest.fixture(scope="module")
def whole() -> Template:
    """The template with the service."""
    settings = replace(load(EXAMPLE), api=API)
    return Template(settings=settings, body=synthesise(settings))


@pytest.fixture(scope="module")
def source() -> Source:
    return Source(Program(ROOT, PACKAGES))


@pytest.fixture(scope="module")
def operations() -> dict[str, frozenset[str]]:
    """Service -> the names of its operations, as boto3 has them."""
    from botocore import xform_name
    from botocore.session import Session

    session = Session()
    return {
        service: frozenset(map(xform_name, session.get_service_model(service).operation_names))
        for service in ("s3", *BY_NAME)
    }


@pytest.mark.parametrize("role", ROLES)
def test_role_has_the_rights_that_its_processes_use_and_no_others(
    role: str, whole: Template, source: Source, operations: Mapping[str, frozenset[str]]
) -> None:
    reach = reached(source, role)
    assert reach.clients <= IN_IMAGE, "the image lacks botocore's description of a service"
    needed = required(reach, operations) - LOOSE.get(role, frozenset())
    granted = {action for s in whole.statements(role) if s["Effect"] == "Allow" for action in s["Action"]}
    assert needed - granted == set(), "calls without a right"
    by_aws = {action for action in granted if action.startswith(tuple(BY_AWS))}
    assert granted - needed - by_aws == set(), "rights without a call"


def test_every_role_of_the_products_processes_is_compared(whole: Template) -> None:
    of_functions = {one["Role"]["Fn::GetAtt"][0] for one in whole.of_type("Lambda::Function").values()}
    of_tasks = {one["TaskRoleArn"]["Fn::GetAtt"][0] for one in whole.of_type("ECS::TaskDefinition").values()}
    assert of_functions | of_tasks | {"ExportTaskRole"} == set(ROLES)
