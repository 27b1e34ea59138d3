"""Types of expressions, as far as annotations and assignments tell."""

import ast
import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.reach.program import EXTERNAL, Node, Program

Kind = tuple[str, Any]
"""("instance", class), ("class", class), ("call", types of the result), ("items", types of each), ("context", types
within `with`), ("external", name of the type)."""
Types = frozenset[Kind] | None
"""None: unknown."""
BUILTINS = frozenset(dir(builtins))
ITERABLES = frozenset(
    {"Sequence", "list", "tuple", "Iterable", "Iterator", "set", "frozenset", "Generator", "deque", "Collection"}
)
EXTERNAL_GENERICS = frozenset({"dict", "Mapping", "MutableMapping", "defaultdict", "Literal", "Future"})
VALUE: Types = frozenset({("external", "value")})
DEPTH_MAX = 12


def union(types: list[Types]) -> Types:
    """Unknown if one of them is."""
    known = [one for one in types if one is not None]
    return frozenset().union(*known) if len(known) == len(types) else None


def external(name: str) -> Types:
    return frozenset({("external", name)})


def only_items(types: Types) -> Types:
    found = [inner for kind, inner in types or () if kind == "items"]
    return found[0] if len(found) == 1 else None


@dataclass
class Scope:
    """Where an expression stands: `names` -> how they are bound in the function."""

    module: str
    cls: Node | None = None
    local: Mapping[str, Node] = field(default_factory=dict)
    names: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)

    def read(self, function: ast.AST) -> None:  # noqa: PLR0912 - a case for each form
        """Take up all bindings, those of inner functions too."""
        for n in ast.walk(function):
            match n:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                    for a in (*n.args.posonlyargs, *n.args.args, *n.args.kwonlyargs):
                        if a.arg not in {"self", "cls"}:
                            self.bind(a.arg, ("annotation", a.annotation))
                    if n.args.vararg:
                        self.bind(n.args.vararg.arg, ("items of", n.args.vararg.annotation))
                    if n.args.kwarg:
                        self.bind(n.args.kwarg.arg, ("unknown", None))
                    if not isinstance(n, ast.Lambda) and n is not function:
                        self.bind(n.name, ("def", n))
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self._target(target, ("value", value))
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    self.bind(name, ("annotation", annotation))
                case ast.NamedExpr(target=ast.Name(id=name), value=value):
                    self.bind(name, ("value", value))
                case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
                    self._target(target, ("item", value))
                case ast.comprehension(target=target, iter=value):
                    self._target(target, ("item", value))
                case ast.withitem(context_expr=value, optional_vars=ast.expr() as target):
                    self._target(target, ("with", value))
                case ast.ExceptHandler(name=str(name)):
                    self.bind(name, ("external", name))
                case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                    self.bind(name, ("unknown", None))

    def bind(self, name: str, how: tuple[str, Any]) -> None:
        self.names.setdefault(name, []).append(how)

    def _target(self, target: ast.AST, how: tuple[str, Any]) -> None:
        match target:
            case ast.Name(id=name):
                self.bind(name, how)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self._target(element, ("unknown", None))
            case ast.Starred(value=value):
                self._target(value, ("unknown", None))


class Inference:
    """Infers types. An unknown one is None: whoever asks then has to think of every class."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._attributes: dict[tuple[Node, str], Types] = {}

    def annotated(self, annotation: ast.AST | None, scope: Scope) -> Types:  # noqa: PLR0911 - a case for each form
        """The types that an annotation names."""
        match annotation:
            case ast.Constant(value=None):
                return frozenset()
            case ast.Constant(value=str(text)):
                return self.annotated(ast.parse(text, mode="eval").body, scope)
            case ast.BinOp(left=left, right=right):
                return union([self.annotated(left, scope), self.annotated(right, scope)])
            case ast.Subscript():
                return self._generic(annotation, scope)
            case ast.Name(id="Self") if scope.cls:
                return frozenset({("instance", scope.cls)})
            case ast.Name(id="Any" | "object"):
                return None
            case ast.Name() | ast.Attribute():
                return self._plain(annotation, scope)
        return None

    def _generic(self, annotation: ast.Subscript, scope: Scope) -> Types:  # noqa: PLR0911 - a case for each form
        name = getattr(annotation.value, "id", getattr(annotation.value, "attr", ""))
        arguments = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        if name == "Callable":
            return frozenset({("call", self.annotated(arguments[-1], scope))})
        if name in ITERABLES:
            return frozenset({("items", self.annotated(arguments[0], scope))})
        if name == "AbstractContextManager":
            return frozenset({("context", self.annotated(arguments[0], scope))})
        if name in {"Final", "Annotated", "ClassVar"}:
            return self.annotated(arguments[0], scope)
        if name == "type":
            inner = self.annotated(arguments[0], scope)
            return None if inner is None else frozenset(("class", of) for kind, of in inner if kind == "instance")
        if name in EXTERNAL_GENERICS:
            return external(name)
        return self.annotated(annotation.value, scope)

    def _plain(self, annotation: ast.Name | ast.Attribute, scope: Scope) -> Types:
        name = annotation.id if isinstance(annotation, ast.Name) else annotation.attr
        node = self.program.named(annotation, scope.module, scope.local)
        if node == EXTERNAL or (node is None and name in BUILTINS):
            return external(name)
        if node is None or node[1] is None:
            return None
        match self.program.body(node):
            case ast.ClassDef():
                return frozenset({("instance", node)})
            case ast.Assign(value=ast.Call(func=function)):  # a TypeVar is unknown
                return external("NewType") if getattr(function, "id", "") == "NewType" else None
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                return self.annotated(value, Scope(node[0]))
        return None

    def returned(self, function: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> Types:
        """What a call of it gives."""
        types = self.annotated(function.returns, scope)
        if any("contextmanager" in ast.dump(decorator) for decorator in function.decorator_list):
            return frozenset({("context", only_items(types))})
        return types

    def attribute(self, cls: Node, name: str) -> Types:
        """The type of an attribute of an instance."""
        if (cls, name) not in self._attributes:
            self._attributes[cls, name] = None  # while it is asked for: an attribute may be made of itself
            self._attributes[cls, name] = self._attribute(cls, name)
        return self._attributes[cls, name]

    def _attribute(self, cls: Node, name: str) -> Types:
        found = self.program.member(cls, name)
        if found is None:
            return None
        owner, (kind, what, method) = found
        scope = Scope(owner[0], owner)
        if kind == "annotation":
            return self.annotated(what, scope)
        if kind == "value":
            scope.read(method)
            return self.of(what, scope)
        types = self.returned(what, scope)
        return types if self._is_read(what, owner) else frozenset({("call", types)})

    def _is_read(self, method: ast.FunctionDef | ast.AsyncFunctionDef, cls: Node) -> bool:
        """Whether a method is read without a call: a property, or what a descriptor of the product makes of it."""
        named = [self.program.named(decorator, cls[0], {}) for decorator in method.decorator_list]
        return any(self.program.is_class(node) for node in named) or any(
            "property" in ast.dump(decorator) for decorator in method.decorator_list
        )

    def of(self, expression: ast.AST, scope: Scope, depth: int = 0) -> Types:  # noqa: PLR0911, PLR0912 - a case for each form
        """The types of an expression."""
        if depth > DEPTH_MAX:
            return None

        def inner(part: ast.AST) -> Types:
            return self.of(part, scope, depth + 1)

        match expression:
            case ast.Constant() | ast.JoinedStr() | ast.Dict() | ast.DictComp() | ast.Compare():
                return VALUE
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return frozenset({("items", union([inner(element) for element in elements]))})
            case ast.Name(id="self") if scope.cls:
                return frozenset({("instance", scope.cls)})
            case ast.Name(id="cls") if scope.cls:
                return frozenset({("class", scope.cls)})
            case ast.Name(id=name):
                if name in scope.names:
                    return self._bound(name, scope, depth + 1)
                return self._of_node(self.program.named(expression, scope.module, scope.local), name, depth + 1)
            case ast.Attribute():
                return self._of_attribute(expression, scope, depth)
            case ast.Call():
                return self._of_call(expression, scope, depth)
            case ast.Await(value=value) | ast.Starred(value=value) | ast.NamedExpr(value=value) | ast.BinOp(left=value):
                return inner(value)
            case ast.IfExp(body=body, orelse=other):
                return union([inner(body), inner(other)])
            case ast.BoolOp(values=values):
                return union([inner(value) for value in values])
            case ast.Subscript(value=value):
                return only_items(inner(value))
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element) | ast.SetComp(elt=element):
                return frozenset({("items", inner(element))})
        return None

    def _of_attribute(self, expression: ast.Attribute, scope: Scope, depth: int) -> Types:
        value, name = expression.value, expression.attr
        if not (isinstance(value, ast.Name) and value.id in scope.names):
            node = self.program.named(expression, scope.module, scope.local)
            if node is not None:
                return self._of_node(node, name, depth + 1)
        base = self.of(value, scope, depth + 1)
        if base is None:
            return None
        ours = {"instance", "class"}
        return union([self.attribute(of, name) if kind in ours else external(name) for kind, of in base])

    def _of_call(self, call: ast.Call, scope: Scope, depth: int) -> Types:
        match call:
            case ast.Call(func=ast.Name(id="cast"), args=[annotation, _]):
                return self.annotated(annotation, scope)
            case ast.Call(func=ast.Name(id="super")) if scope.cls:
                bases = self.program.bases(scope.cls)
                return frozenset(("instance", base) for base in bases) or external("object")
            case ast.Call(func=ast.Name(id="replace" | "sorted" | "list" | "tuple" | "set" | "iter"), args=[first, *_]):
                return self.of(first, scope, depth + 1)
        called = self.of(call.func, scope, depth + 1)
        if called is None:
            return None
        results: list[Types] = []
        for kind, what in called:
            if kind == "class":
                results.append(frozenset({("instance", what)}))
            elif kind == "call":
                results.append(what)
            elif kind == "instance":
                results.append(None)
            else:
                results.append(external(what if kind == "external" else "value"))
        return union(results)

    def _of_node(self, node: Node | None, name: str, depth: int) -> Types:  # noqa: PLR0911 - a case for each form
        if node == EXTERNAL or (node is None and name in BUILTINS):
            return external(name)
        if node is None or node[1] is None:
            return None
        scope = Scope(node[0])
        match self.program.body(node):
            case ast.ClassDef():
                return frozenset({("class", node)})
            case ast.FunctionDef() | ast.AsyncFunctionDef() as function:
                return frozenset({("call", self.returned(function, scope))})
            case ast.AnnAssign(annotation=annotation, value=value):
                types = self.annotated(annotation, scope)
                return self.of(value, scope, depth) if types is None and value is not None else types
            case ast.Assign(value=value):
                return self.of(value, scope, depth)
        return None

    def _bound(self, name: str, scope: Scope, depth: int) -> Types:
        if name in scope.busy:
            return frozenset()
        scope.busy.add(name)
        try:
            return union([self._binding(how, what, scope, depth) for how, what in scope.names[name]])
        finally:
            scope.busy.discard(name)

    def _binding(self, how: str, what: Any, scope: Scope, depth: int) -> Types:  # noqa: PLR0911 - a case for each form
        match how:
            case "annotation":
                return self.annotated(what, scope)
            case "items of":
                return frozenset({("items", self.annotated(what, scope))})
            case "def":
                return frozenset({("call", self.returned(what, scope))})
            case "value":
                return self.of(what, scope, depth)
            case "external":
                return external(what)
            case "item":
                types = self.of(what, scope, depth)
                if types and all(kind == "external" for kind, _ in types):
                    return external("item")
                return only_items(types)
            case "with":
                return self._entered(self.of(what, scope, depth))
        return None

    def _entered(self, types: Types) -> Types:
        if types is None:
            return None
        found: list[Types] = []
        for kind, what in types:
            if kind == "context":
                found.append(what)
            elif kind == "instance":
                entered = self.attribute(what, "__enter__")
                found += [None] if entered is None else [result for one, result in entered if one == "call"]
            else:
                found.append(frozenset({(kind, what)}))
        return union(found)
