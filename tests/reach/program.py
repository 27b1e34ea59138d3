"""The source as modules, names and classes."""

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

Node = tuple[str, str | None]
"""(module, top-level name); no name: the module itself."""
EXTERNAL = ("", "")
"""The node of everything in libraries."""

WITHOUT_CALLS = frozenset({"Protocol", "Generic", "ABC", "NamedTuple", "Enum", "StrEnum", "IntEnum", "TypedDict"})
"""Bases of the standard library that call no methods of what is derived from them."""


def imported(statement: ast.Import | ast.ImportFrom, known: Collection[str]) -> Iterator[tuple[str, Node]]:
    """(local name, node) of each name that an import binds."""
    for alias in statement.names:
        if isinstance(statement, ast.Import):
            first = alias.name.partition(".")[0]
            yield alias.asname or first, (alias.name if alias.asname else first, None)
        else:
            full = f"{statement.module}.{alias.name}"
            yield alias.asname or alias.name, ((full, None) if full in known else (str(statement.module), alias.name))


class Module:
    """`bodies`: top-level name -> its statement; `top`: expressions that run when it is imported."""

    def __init__(self, tree: ast.Module, known: Collection[str]) -> None:
        self.imports: dict[str, Node] = {}
        self.bodies: dict[str, ast.stmt] = {}
        self.top: list[ast.AST] = []
        self._known = known
        self._read(tree.body)

    def _read(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Import() | ast.ImportFrom():
                    self.imports |= dict(imported(statement, self._known))
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    self.bodies[statement.name] = statement
                    self.top += statement.decorator_list
                case ast.Assign() | ast.AnnAssign():
                    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                    names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)]
                    self.bodies |= dict.fromkeys(names, statement)
                case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                    pass
                case ast.If() | ast.With() | ast.Try() | ast.For():
                    for part in ("body", "orelse", "finalbody"):
                        self._read(getattr(statement, part, []))
                    for handler in getattr(statement, "handlers", []):
                        self._read(handler.body)
                    self.top += [statement] if isinstance(statement, ast.For) else []
                case _:
                    self.top.append(statement)


Member = tuple[str, Any, Any]
"""("def", method, None), ("annotation", it, None), or ("value", expression, the method that assigns it)."""


class Program:
    """All modules of some packages. Modules are parsed when something in them is asked for."""

    def __init__(self, root: Path, packages: Collection[str]) -> None:
        self._files: dict[str, Path] = {}
        for package in packages:
            for file in sorted((root / package).rglob("*.py")):
                parts = file.relative_to(root).with_suffix("").parts
                self._files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
        self._modules: dict[str, Module] = {}
        self._bases: dict[Node, tuple[Node, ...]] = {}
        self._members: dict[Node, Mapping[str, Member]] = {}

    @cached_property
    def names(self) -> Collection[str]:
        """Of all modules."""
        return self._files.keys()

    def module(self, name: str) -> Module:
        if name not in self._modules:
            self._modules[name] = Module(ast.parse(self._files[name].read_text(encoding="utf-8")), self.names)
        return self._modules[name]

    def body(self, node: Node) -> ast.stmt:
        return self.module(node[0]).bodies[str(node[1])]

    def resolve(self, module: str, name: str | None, seen: tuple[Node, ...] = ()) -> Node | None:
        """What a name of a module denotes; None if it is neither defined nor imported there."""
        if module not in self._files:
            return EXTERNAL
        if name is None or name in self.module(module).bodies:
            return module, name
        imports = self.module(module).imports
        if name in imports and (module, name) not in seen:
            return self.resolve(*imports[name], (*seen, (module, name)))
        return None

    def named(self, expression: ast.AST, module: str, local: Mapping[str, Node]) -> Node | None:
        """What a name or `a.b.c` denotes. None for anything else."""
        match expression:
            case ast.Name(id=name):
                return self.resolve(*local[name]) if name in local else self.resolve(module, name)
            case ast.Attribute(value=value, attr=name):
                base = self.named(value, module, local)
                if base == EXTERNAL:
                    return EXTERNAL
                return self.resolve(base[0], name) if base is not None and base[1] is None else None
        return None

    def is_class(self, node: Node | None) -> bool:
        if node is None or node == EXTERNAL or node[1] is None:
            return False
        return isinstance(self.body(node), ast.ClassDef)

    def bases(self, cls: Node) -> tuple[Node, ...]:
        """The base classes that are the product's own."""
        if cls not in self._bases:
            body = self.body(cls)
            assert isinstance(body, ast.ClassDef)
            plain = (base.value if isinstance(base, ast.Subscript) else base for base in body.bases)
            found = [self.named(base, cls[0], {}) for base in plain]
            self._bases[cls] = tuple(node for node in found if node is not None and self.is_class(node))
        return self._bases[cls]

    def ancestors(self, cls: Node) -> set[Node]:
        """A class, and all that it is derived from."""
        return {cls}.union(*(self.ancestors(base) for base in self.bases(cls)))

    def is_called_by_libraries(self, cls: Node) -> bool:
        """Whether a class is derived from one of a library, which then calls its methods."""
        for one in self.ancestors(cls):
            body = self.body(one)
            assert isinstance(body, ast.ClassDef)
            for base in body.bases:
                plain = base.value if isinstance(base, ast.Subscript) else base
                name = plain.id if isinstance(plain, ast.Name) else getattr(plain, "attr", "")
                if self.named(plain, one[0], {}) == EXTERNAL and name not in WITHOUT_CALLS:
                    return True
        return False

    def is_protocol(self, cls: Node) -> bool:
        body = self.body(cls)
        return isinstance(body, ast.ClassDef) and any("'Protocol'" in ast.dump(base) for base in body.bases)

    def members(self, cls: Node) -> Mapping[str, Member]:
        """Methods and fields of a class, those that its methods assign too."""
        if cls not in self._members:
            self._members[cls] = dict(self._read_members(cls))
        return self._members[cls]

    def _read_members(self, cls: Node) -> Iterator[tuple[str, Member]]:
        body = self.body(cls)
        assert isinstance(body, ast.ClassDef)
        methods = [s for s in body.body if isinstance(s, ast.FunctionDef | ast.AsyncFunctionDef)]
        for method in methods:
            given = {a.arg: a.annotation for a in (*method.args.args, *method.args.kwonlyargs)}
            for n in ast.walk(method):
                match n:
                    case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name), annotation=to):
                        yield name, ("annotation", to, None)
                    case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)], value=value):
                        of = given.get(value.id) if isinstance(value, ast.Name) else None
                        yield name, ("annotation", of, None) if of is not None else ("value", value, method)
        for statement in body.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                yield statement.target.id, ("annotation", statement.annotation, None)
        yield from ((method.name, ("def", method, None)) for method in methods)

    def member(self, cls: Node, name: str) -> tuple[Node, Member] | None:
        """The class that defines a member, and the member; the class itself first."""
        if name in self.members(cls):
            return cls, self.members(cls)[name]
        return next((found for base in self.bases(cls) if (found := self.member(base, name))), None)
