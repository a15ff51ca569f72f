# SPDX-License-Identifier: Apache-2.0
"""Mutations of Python source, Amaranth's included: what can be changed, one thing at a time."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass

import numpy as np

BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}

CONDITIONS = {"If", "Elif"}
"""Methods of Amaranth's modules whose argument is a condition."""


@dataclass(frozen=True)
class Mutation:
    """``before`` becomes ``after`` in the function or class ``scope`` of ``path``; ``number`` tells it from the same
    change elsewhere in there.
    """

    path: str
    scope: str
    before: str
    after: str
    number: int
    begin: int
    end: int

    @property
    def name(self) -> str:
        """Names it as long as its function stays as it is, wherever that stands."""
        again = f" #{self.number}" if self.number else ""
        return f"{self.path} {self.scope}: {self.before} -> {self.after}{again}"

    def apply(self, source: bytes) -> bytes:
        """The mutated source."""
        return source[: self.begin] + self.after.encode() + source[self.end :]


def mutations(source: bytes, path: str) -> list[Mutation]:
    """All mutations of a source, in its order."""
    found = _Finder(source, path)
    found.visit(ast.parse(source))
    return found.all


class _Finder(ast.NodeVisitor):
    """Texts for people, annotations and decorators stay as they are."""

    def __init__(self, source: bytes, path: str) -> None:
        self.source, self.path = source, path
        self.all: list[Mutation] = []
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._scope: list[str] = []
        self._seen: Counter[tuple[str, str, str]] = Counter()

    def _add(self, node: ast.AST, after: str) -> None:
        begin = self._starts[node.lineno - 1] + node.col_offset
        end = self._starts[node.end_lineno - 1] + node.end_col_offset
        before = " ".join(self.source[begin:end].decode().split())
        same = (".".join(self._scope) or "module", before, after)
        self.all.append(Mutation(self.path, *same, self._seen[same], begin, end))
        self._seen[same] += 1

    def _enter(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        self._scope.append(node.name)
        if isinstance(node, ast.FunctionDef):
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self._scope.pop()

    visit_FunctionDef = _enter
    visit_ClassDef = _enter

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return
        self._invert(node.test)
        self.generic_visit(node)

    def _invert(self, test: ast.expr) -> None:
        if not isinstance(test, ast.Compare | ast.UnaryOp):  # These have mutations that invert them.
            self._add(test, f"(not ({ast.unparse(test)}))")

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._add(node, f"({ast.unparse(ast.IfExp(node.test, node.orelse, node.body))})")
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not any(isinstance(target, ast.Name) and target.id.startswith("__") for target in node.targets):
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._add(node, "pass")
        if isinstance(node.value, ast.List) and len(node.value.elts) > 1:
            for element in node.value.elts:
                self._add(element, "*()")
        self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self._add(node, "pass")
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self._add(node, "pass")

    visit_Continue = visit_Break

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in CONDITIONS and len(node.args) == 1:
            if not isinstance(node.args[0], ast.Compare | ast.UnaryOp):
                self._add(node.args[0], f"({ast.unparse(node.args[0])}) == 0")
        elif name == "Mux" and len(node.args) == 3:
            condition, one, other = node.args
            self._add(node, ast.unparse(ast.Call(node.func, [condition, other, one], [])))
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        other = BINARY.get(type(node.op))
        if other is not None and not any(map(_is_text, (node.left, node.right))):
            self._add(node, f"({ast.unparse(ast.BinOp(node.left, other(), node.right))})")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._add(node, f"({ast.unparse(ast.BoolOp(other, node.values))})")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for n, operator in enumerate(node.ops):
            ops = [*node.ops[:n], COMPARISONS[type(operator)](), *node.ops[n + 1 :]]
            self._add(node, f"({ast.unparse(ast.Compare(node.left, ops, node.comparators))})")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        self._add(node, f"({ast.unparse(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._add(node, str(not node.value))
        elif isinstance(node.value, int):
            self._add(node, "0" if node.value == 1 else str(node.value + 1))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """A text for people."""

    def visit_Raise(self, node: ast.Raise) -> None:
        """So is what an error says."""

    def visit_Assert(self, node: ast.Assert) -> None:
        """A remark to the reader."""


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def sample(sources: dict[str, bytes], count: int, seed: int) -> list[Mutation]:
    """``count`` mutations, of each file as many as its share of all, and at least one.

    Files alternate, so that the first ones are a sample too.
    """
    found = {path: mutations(source, path) for path, source in sources.items()}
    total = sum(map(len, found.values()))
    order = []
    for path, every in found.items():
        share = max(1, len(every) * count / total) if every else 1
        chosen = np.random.default_rng([seed, *path.encode()]).permutation(len(every))
        order += [((rank + 0.5) / share, path, every[index]) for rank, index in enumerate(chosen.tolist())]
    return [mutation for _, _, mutation in sorted(order, key=lambda entry: entry[:2])[:count]]
