"""A rapid type analysis: from its entry points, what a process can call.

A function reaches the functions and classes that it names, and with `x.name` the method `name` of the class of `x` and
of its relatives. Where the class is unknown, it reaches the methods of that name of all classes that are reached.
So what is reached may be too much. It is too little only where names are texts (`getattr`, `importlib`, `-m module`):
entry points have to name what is loaded so.
"""

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.reach.inference import Inference, Scope
from tests.reach.program import EXTERNAL, Node, Program, imported

Function = ast.FunctionDef | ast.AsyncFunctionDef
ASKING = frozenset({"get_paginator", "generate_presigned_url"})
"""Methods of boto3's clients that take the name of an operation."""


@dataclass
class References:
    """What a piece of source refers to."""

    nodes: set[Node] = field(default_factory=set)
    members: set[tuple[Node, str]] = field(default_factory=set)
    """(class, attribute)."""
    unknown: set[str] = field(default_factory=set)
    """Attributes of objects of unknown classes."""
    external: set[str] = field(default_factory=set)
    """Attributes of objects of libraries, and operations named in `ASKING`."""
    clients: set[str] = field(default_factory=set)
    """Services of which a client is made, with boto3 or by a function `..._client` that gets the name."""


class Reader(ast.NodeVisitor):
    """Collects the references of one piece of source."""

    def __init__(self, inference: Inference, module: str, cls: Node | None, source: ast.AST) -> None:
        self.found = References()
        self._program, self._inference = inference.program, inference
        local: dict[str, Node] = {}
        for n in ast.walk(source):
            if isinstance(n, ast.Import | ast.ImportFrom):
                local |= dict(imported(n, self._program.names))
        self._scope = Scope(module, cls, local)
        if isinstance(source, Function | ast.Lambda):
            self._scope.read(source)
        self.visit(source)

    def visit_arg(self, node: ast.arg) -> None:
        """Annotations reach nothing."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        defaults = [default for default in node.args.kw_defaults if default is not None]
        for part in (*node.decorator_list, *node.args.defaults, *defaults, *node.body):
            self.visit(part)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name that `ast` calls

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and node.id not in self._scope.names:
            self._add(self._program.named(node, self._scope.module, self._scope.local))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        value = node.value
        if not (isinstance(value, ast.Name) and value.id in self._scope.names):
            named = self._program.named(node, self._scope.module, self._scope.local)
            if named is not None:
                self._add(named)
                self.found.external |= {node.attr} if named == EXTERNAL else set()
                return
        types = self._inference.of(value, self._scope)
        for kind, what in types or ():
            if kind in {"instance", "class"}:
                self.found.members.add((what, node.attr))
            else:
                self.found.external.add(node.attr)
        if not types or any(kind == "call" for kind, _ in types):
            self.found.unknown.add(node.attr)
        self.visit(value)

    def visit_Call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Name(id="cast"), args=[_, value]):
                self.visit(value)
                return
            case ast.Call(func=ast.Attribute(attr=name), args=[ast.Constant(value=str(text)), *_]):
                self.found.clients |= {text} if name == "client" else set()
                self.found.external |= {text} if name in ASKING else set()
            case ast.Call(
                func=ast.Attribute(attr=str(name)) | ast.Name(id=str(name)), args=[_, ast.Constant(value=str(text))]
            ) if name.endswith("_client"):
                self.found.clients.add(text)
        self.generic_visit(node)

    def _add(self, node: Node | None) -> None:
        if node is not None and node != EXTERNAL and node[1] is not None:
            self.found.nodes.add(node)


class Source:
    """A program with the references of what was read of it; shared by all processes."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._inference = Inference(program)
        self._read: dict[tuple[Any, ...], References] = {}

    def references(self, module: str, cls: Node | None, source: ast.AST) -> References:
        key = (module, source)
        if key not in self._read:
            self._read[key] = Reader(self._inference, module, cls, source).found
        return self._read[key]


class Reach:
    """What the entry points reach. An entry is (module, function), (module, class) or (module, "class.method").

    Nothing is entered in modules whose names begin as in `without`.
    """

    def __init__(self, source: Source, entries: Iterable[tuple[str, str]], *, without: tuple[str, ...] = ()) -> None:
        self.methods: set[tuple[str, str]] = set()
        self.nodes: set[Node] = set()
        self.attributes: set[str] = set()
        """Attributes of objects of libraries and of unknown ones."""
        self.clients: set[str] = set()
        self._source, self._program = source, source.program
        self._without = without
        self._unknown: set[str] = set()
        self._asked: dict[str, set[Node]] = {}
        self._classes: list[Node] = []
        self._loaded: set[str] = set()
        self._queue: list[Node] = []
        for module, name in entries:
            first, _, method = name.partition(".")
            self._queue.append((module, first))
            if method:
                self._asked.setdefault(method, set()).add((module, first))
        self._run()

    def _run(self) -> None:
        before = -1
        while len(self.methods) > before or self._queue:
            before = len(self.methods)
            while self._queue:
                self._enter(self._queue.pop())
            for cls in list(self._classes):
                self._methods(cls)

    def _methods(self, cls: Node) -> None:
        for name, (kind, method, _) in self._program.members(cls).items():
            key = (cls[0], f"{cls[1]}.{name}")
            if kind == "def" and key not in self.methods and self._is_asked(cls, name):
                self.methods.add(key)
                self._take(self._source.references(cls[0], cls, method))

    def _is_asked(self, cls: Node, name: str) -> bool:
        if name in self._unknown or (name.startswith("__") and name.endswith("__")):
            return True
        if self._program.is_called_by_libraries(cls):
            return True
        return any(
            self._program.is_protocol(one) or one in self._program.ancestors(cls) or cls in self._program.ancestors(one)
            for one in self._asked.get(name, ())
        )

    def _enter(self, node: Node) -> None:
        if node in self.nodes or node[0].startswith(self._without):
            return
        self.nodes.add(node)
        module = node[0]
        if module not in self._loaded:
            self._loaded.add(module)
            for statement in self._program.module(module).top:
                self._take(self._source.references(module, None, statement))
        body = self._program.body(node)
        if not isinstance(body, ast.ClassDef):
            self._take(self._source.references(module, None, body))
            return
        self._classes.append(node)
        values = [s.value for s in body.body if isinstance(s, ast.Assign | ast.AnnAssign) and s.value is not None]
        decorators = [d for s in body.body if isinstance(s, Function) for d in s.decorator_list]
        for part in (*body.bases, *body.decorator_list, *values, *decorators):
            self._take(self._source.references(module, node, part))

    def _take(self, found: References) -> None:
        self._unknown |= found.unknown
        self.attributes |= found.unknown | found.external
        self.clients |= found.clients
        self._queue += found.nodes
        for cls, name in found.members:
            self._asked.setdefault(name, set()).add(cls)
