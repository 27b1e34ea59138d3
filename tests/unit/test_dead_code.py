"""Every function and class of the product is used by the product."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from tests.trees import PACKAGES, ROOT

KEPT: Final = {
    # called by name
    "orchestration.api.application.application": "uvicorn's",
    "orchestration.entrypoints.job_event_handler.publish": "AWS Lambda's",
    "orchestration.entrypoints.warm.warm": "the fork server of functions",
    # for programs
    "muster.deployment.Deployment.deployment_events": "an operation of the API",
    "muster.waiting.Waiting.wait_async": "docs/client.md",
    # for operators
    "orchestration.catalog.migrate.downgrade": "docs/operations.md",
}
"""What only other programs, people or tests call, and why it is there."""
GENERATED: Final = "muster.api_methods"
"""Has a method for each operation of the API, for programs."""
CALLED_BY_LIBRARIES: Final = {
    "authenticator_oauth": "aiokafka",
    "collect": "prometheus_client",
    "do_GET": "http.server",
    "get_alg": "joserfc",
    "get_completions": "prompt_toolkit",
    "list_commands": "click",
    "load_overload": "numba",
    "log_message": "http.server",
    "post_invocation_error": "awslambdaric",
    "post_invocation_result": "awslambdaric",
    "process_result_value": "SQLAlchemy",
    "seekable": "pyarrow",
    "perform_seek": "Faust",
    "_add_gap": "Faust",
    "_initialize_fs": "pyiceberg",
    "_new_consumer_thread": "Faust",
    "_new_offset": "Faust",
    "_process_manifests": "pyiceberg",
    "_to_message": "Faust",
}
"""Methods that override those of a library."""


class Uses(ast.NodeVisitor):
    """Names that a module uses: `qualified` ones of modules, and `words`, which may be methods of anything."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.qualified: set[str] = set()
        self.words: set[str] = set()
        self._module = module
        self._within: list[str] = []
        self._own = {one.name for one in _definitions(tree.body)}
        self._imported: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._imported.setdefault(alias.asname or alias.name, set()).add(f"{node.module}.{alias.name}")
        self.visit(tree)

    def _visit_definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._within.append(node.name)
        self.generic_visit(node)
        self._within.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _visit_definition  # noqa: N815  # as `ast` names them

    def visit_Name(self, node: ast.Name) -> None:
        self.words.add(node.id)
        self.qualified |= self._imported.get(node.id, set())
        if node.id in self._own and node.id not in self._within[:1]:  # a recursive function is not used by itself
            self.qualified.add(f"{self._module}.{node.id}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.words.add(node.attr)
        if isinstance(node.value, ast.Name):
            self.qualified |= {f"{name}.{node.attr}" for name in self._imported.get(node.value.id, set())}
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        self.words.add(node.arg or "")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:  # annotations in quotes
        if isinstance(node.value, str):
            for word in re.findall(r"\w+", node.value) if re.fullmatch(r"[\w.\[\], |]+", node.value) else ():
                self.visit_Name(ast.Name(id=word))


def _definitions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def _is_registered(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether a decorator of the product may have put it into a table."""
    plain = {
        "property",
        "classmethod",
        "staticmethod",
        "contextmanager",
        "cached_property",
        "cache",
        "dataclass",
        "Part",
    }
    names = {getattr(one, "attr", getattr(one, "id", "")) for d in node.decorator_list for one in ast.walk(d)}
    return bool(node.decorator_list) and not names & plain


def test_every_function_and_class_of_the_product_is_used() -> None:
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(file.read_bytes())
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if "versions" not in file.parts  # migrations, which alembic loads
    }
    uses = [Uses(module, tree) for module, tree in modules.items()]
    qualified = set().union(*(one.qualified for one in uses))
    templates = " ".join(file.read_text(encoding="utf-8") for file in (ROOT / "orchestration").rglob("*.html"))
    words = set(re.findall(r"\w+", templates)).union(*(one.words for one in uses))
    unused = set()
    for module, tree in modules.items():
        for top in _definitions(tree.body):
            if f"{module}.{top.name}" not in qualified and not _is_registered(top):
                unused.add(f"{module}.{top.name}")
            for method in _definitions(top.body) if isinstance(top, ast.ClassDef) else ():
                called = method.name in words or method.name in CALLED_BY_LIBRARIES or method.name.startswith("__")
                if module != GENERATED and not called and not _is_registered(method):
                    unused.add(f"{module}.{top.name}.{method.name}")
    assert unused == KEPT.keys()
