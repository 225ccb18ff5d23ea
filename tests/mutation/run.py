"""How many small changes of verify.py do its own tests notice? `make mutate`, or:

    .venv/bin/python tests/mutation/run.py [--first N] [--count N] [--every N] [--at-least 0.9]

The tests run once as they are, which tells where each of them gets to. Then each change is made in memory, in a copy
of the process, and those tests run that get to it, until the first fails. What no test notices is printed with its
line; some of it changes nothing that anybody could see (the size of a chunk, the words of a help).
"""

import argparse
import ast
import inspect
import os
import signal
import sys
import threading
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from apps.audit.offline import verify  # noqa: E402

FILE = ROOT / "apps/audit/offline/verify.py"
PROCESSES = len(os.sched_getaffinity(0))
# The thorough ones flip every byte, which takes long and notices little that the others do not. Fresh processes would
# read the true source.
TESTS = [
    "tests/audit/test_ed25519.py",
    "tests/audit/test_notes.py",
    "tests/audit/test_offline.py",
    "tests/audit/test_offline_shares.py",
]
BUT = ["-k", "not any_byte and not any_character and not library_has_signed and not anything and not fresh_processes"]
_FAILED, _CANNOT_BEGIN = 1, 2  # how a copy of the process ends; 0: no test has noticed anything
_NONE = -1  # in the place of a change's number
SECONDS = 60  # a change may make it go round for ever

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Mod: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Pow: ast.Mult,
}


class Offer(NamedTuple):
    """A change: in which function (as in its `__qualname__`; "" in none), and what."""

    scope: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


class Change(ast.NodeTransformer):
    """Offers every change in turn, and makes the chosen one."""

    def __init__(self, chosen: int = -1) -> None:
        self.chosen = chosen
        self.offered: list[Offer] = []
        self._classes: list[str] = []
        self._function = ""

    def _offers(self, node: ast.AST, what: str) -> bool:
        self.offered.append(Offer(self._function, getattr(node, "lineno", 0), what))
        return len(self.offered) - 1 == self.chosen

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        for place, old in enumerate(node.ops):
            new = COMPARISONS[type(old)]
            if self._offers(node, f"{type(old).__name__} -> {new.__name__} in {ast.unparse(node)}"):
                node.ops[place] = new()
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            return node
        new = OPERATORS[type(node.op)]
        if self._offers(node, f"{type(node.op).__name__} -> {new.__name__} in {ast.unparse(node)}"):
            node.op = new()
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if self._offers(node, f"and <-> or in {ast.unparse(node)}"):
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return node.operand if self._offers(node, f"{ast.unparse(node)} -> {ast.unparse(node.operand)}") else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        held = node.value
        if isinstance(held, bool):
            new: object = not held
        elif isinstance(held, int):
            new = held + 1
        elif isinstance(held, bytes):
            new = held + b"x"
        elif isinstance(held, str) and held and " " not in held:
            new = held + "x"
        else:
            return node  # None, and sentences for people
        return ast.Constant(new) if self._offers(node, f"{held!r} -> {new!r}") else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        self.generic_visit(node)
        if self._offers(node, f"if {ast.unparse(node.test)} -> if not"):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        is_answer = node.value is not None and not isinstance(node.value, ast.Constant)  # yes and no are turned above
        if is_answer and self._offers(node, f"{ast.unparse(node)} -> return None"):
            node.value = ast.Constant(None)
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Pass() if self._offers(node, f"{ast.unparse(node)} -> pass") else node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):
            return node  # a docstring
        self.generic_visit(node)
        return ast.Pass() if self._offers(node, f"{ast.unparse(node)} -> pass") else node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return node  # annotations are for readers

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._classes.append(node.name)
        node.body = [self.visit(statement) for statement in node.body]
        self._classes.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        outer, self._function = self._function, self._function or ".".join([*self._classes, node.name])
        node.body = [self.visit(statement) for statement in node.body]
        self._function = outer
        return node


def changes(source: str) -> list[Offer]:
    change = Change()
    change.visit(ast.parse(source))
    return change.offered


def changed(source: str, number: int) -> str:
    return ast.unparse(ast.fix_missing_locations(Change(number).visit(ast.parse(source))))


def install(source: str) -> None:
    """Make the module what this source says, in place: whatever holds one of its functions or classes sees the new."""
    made: dict[str, Any] = {"__name__": verify.__name__, "__file__": verify.__file__}
    exec(compile(source, str(FILE), "exec"), made)
    _become(verify, made)


def _become(old: object, new: Mapping[str, Any]) -> None:
    """`old` is a module or a class, `new` what it should hold."""
    held = vars(old)
    for name, value in new.items():
        if name.startswith("__") and not isinstance(value, types.FunctionType):
            continue
        was = _bare(held.get(name))
        if isinstance(was, types.FunctionType):
            if was.__module__ == verify.__name__:
                became = _bare(value)
                was.__code__, was.__defaults__, was.__kwdefaults__ = (
                    became.__code__,
                    became.__defaults__,
                    became.__kwdefaults__,
                )
        elif isinstance(was, type):
            if was.__module__ == verify.__name__:
                _become(was, vars(value))
        elif not isinstance(was, types.ModuleType | types.MemberDescriptorType):
            setattr(old, name, value)


def _bare(held: Any) -> Any:
    """The function in a property, a static method or something that is wrapped around one."""
    if isinstance(held, property):
        held = held.fget
    return inspect.unwrap(getattr(held, "__func__", held))


class Trial:
    """A plugin of pytest: its tests are collected once, and run for each change in a copy of this process."""

    def __init__(self, source: str, chosen: Sequence[int], offered: Sequence[Offer]) -> None:
        self._source, self._chosen, self._offered = source, chosen, offered
        self._entered: dict[str, set[str]] = {}  # test -> names of the functions that it gets to
        self._took: dict[str, float] = {}
        self._by_id: dict[str, pytest.Item] = {}
        self._has_failed = False
        self.tried = self.late = 0
        self.missed: list[int] = []
        self.is_sound = True

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._by_id = {item.nodeid: item for item in session.items}
        for item in session.items:
            if not self._look_at(item):
                print(f"fails without any change: {item.nodeid}")
                self.is_sound = False
        if self.is_sound:
            self._try_all([_NONE, *self._chosen])
        if _NONE in self.missed:
            self.missed.remove(_NONE)
        elif self.is_sound:
            print("A source that is not changed is noticed: so what is noticed says nothing.")
            self.is_sound = False
        return True

    def _look_at(self, item: pytest.Item) -> bool:
        """Run a test and note where it gets to, and how long it takes."""
        entered = self._entered.setdefault(item.nodeid, set())

        def trace(frame: types.FrameType, event: str, argument: object) -> None:
            if frame.f_code.co_filename == str(FILE):
                entered.add(frame.f_code.co_qualname)

        began = monotonic()
        threading.settrace(trace)
        sys.settrace(trace)
        try:
            return self._passes(item)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            self._took[item.nodeid] = monotonic() - began

    def _try_all(self, numbers: Sequence[int]) -> None:
        began, waiting, running = monotonic(), list(numbers)[::-1], dict[int, int]()
        while waiting or running:
            while waiting and len(running) < PROCESSES:
                number = waiting.pop()
                running[self._started(number)] = number
            child, status = os.wait()
            number = running.pop(child)
            self.tried += 1
            self.late += status not in {0, _FAILED << 8}
            if status == 0:
                self.missed.append(number)
                if number != _NONE:
                    print(f"not noticed: {number}, {self._offered[number]}", flush=True)
            if self.tried % 100 == 0:
                print(f"{self.tried} of {len(numbers)} tried, {monotonic() - began:.0f} s", flush=True)

    def _started(self, number: int) -> int:
        """A copy of this process that ends with 0 if no test notices the change."""
        child = os.fork()
        if child == 0:
            signal.alarm(SECONDS)
            status = _CANNOT_BEGIN
            try:
                silence = os.open(os.devnull, os.O_WRONLY)
                os.dup2(silence, 1)
                os.dup2(silence, 2)
                install(changed(self._source, number))
                status = _FAILED * (not all(map(self._passes, self._tests_of(self._scope_of(number)))))
            finally:
                os._exit(status)
        return child

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._has_failed |= report.failed

    def _passes(self, item: pytest.Item) -> bool:
        self._has_failed = False
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self._has_failed

    def _scope_of(self, number: int) -> str:
        return "" if number == _NONE else self._offered[number].scope

    def _tests_of(self, scope: str) -> list[pytest.Item]:
        """Those that get to this function, soonest done first; all, where it stands in none or a process of its own
        gets there.
        """
        names = [name for name, entered in self._entered.items() if _is_entered(scope, entered)]
        return [self._by_id[name] for name in sorted(names or self._entered, key=self._took.__getitem__)]


def _is_entered(scope: str, entered: set[str]) -> bool:
    return bool(scope) and any(name == scope or name.startswith(f"{scope}.<locals>") for name in entered)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="begin with this change")
    parser.add_argument("--count", type=int, default=10**6, help="and try so many")
    parser.add_argument("--every", type=int, default=1, help="only each so-manieth")
    parser.add_argument("--at-least", type=float, default=0.9, help="the share that must be noticed")
    given = parser.parse_args()
    os.chdir(ROOT)
    source = FILE.read_text(encoding="utf-8")
    offered = changes(source)
    chosen = range(given.first, min(len(offered), given.first + given.count), given.every)
    trial = Trial(source, chosen, offered)
    ended = pytest.main(["-p", "no:terminal", "-o", "addopts=--import-mode=importlib", *TESTS, *BUT], plugins=[trial])
    if ended or not trial.is_sound or trial.tried != len(chosen) + 1:
        print(f"It did not come to its end: {trial.tried} were tried.")
        return 2
    noticed = len(chosen) - len(trial.missed)
    print(f"{noticed} of {len(chosen)} changes were noticed: {noticed / len(chosen):.1%}.")
    if trial.late:
        print(f"{trial.late} of them because the tests took longer than {SECONDS} s, or the program could not begin.")
    return int(noticed / len(chosen) < given.at_least)


if __name__ == "__main__":
    sys.exit(main())
