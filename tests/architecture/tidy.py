"""The tidy checker: what a reader of this codebase may rely on, as a walk over syntax trees.

Each rule takes one `Source` and yields findings; `dead_modules` takes them all. The rules hold no list of
our own files: exceptions are passed in by the test that runs them, where they can be counted.
"""

import ast
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from tests.architecture.source import Source

MAX_FUNCTION_LINES = 70
MAX_CLASS_LINES = 350
MAX_FILE_LINES = 600

# A name that says nothing about what is inside collects everything.
BANNED_NAME = re.compile(r"(^|_)(utils?|commons?|helpers?|misc|managers?)$")

# Time, sleeping and chance enter the server through these two modules only.
SERVER = "server/perdure_server/"
NONDETERMINISM_OWNERS = (SERVER + "clock.py", SERVER + "ids.py")
NONDETERMINISTIC_MODULES = frozenset({"random", "secrets", "time", "uuid"})
NONDETERMINISTIC_CALLS = frozenset(
    {
        "asyncio.sleep",
        "datetime.now",
        "datetime.today",
        "datetime.utcnow",
        "date.today",
        "os.getrandom",
        "os.urandom",
    }
)
KERNEL = SERVER + "kernel/"
# The kernel decides about steps, waits and effects; what an effect talks to is not its business. (The
# folder `tools/` is no such word.)
FOREIGN_VOCABULARY = re.compile(
    r"(?<![a-z])(llm|tool(?!s[./])|grpc|protobuf|sqlite|sqlalchemy|postgres)", re.IGNORECASE
)
KERNEL_IMPORTS = sys.stdlib_module_names | {"perdure_server.kernel"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Finding:
    """One breach: where it is, the rule's name, and what to know about it."""

    path: str
    line: int
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.detail}"


Rule = Callable[[Source], Iterator[Finding]]


def dotted_name(node: ast.expr) -> str | None:
    """`a.b.c` for the expression `a.b.c`, None for anything that is not a plain dotted name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted_name(node.value)
        return None if owner is None else f"{owner}.{node.attr}"
    return None


def calls(node: ast.AST, functions: Collection[str]) -> TypeGuard[ast.Call]:
    """Whether `node` calls one of `functions`, given as they are written in the call."""
    return isinstance(node, ast.Call) and dotted_name(node.func) in functions


def imported_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything imported anywhere in `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def names_prefix(name: str, prefixes: Collection[str]) -> bool:
    """Whether the dotted `name` is one of `prefixes` or lies below one."""
    parts = name.split(".")
    return any(".".join(parts[:count]) in prefixes for count in range(1, len(parts) + 1))


def sizes(source: Source) -> Iterator[Finding]:
    """Files, classes and functions that do not fit the limits; a definition counts to its last line."""
    lines = len(source.text.splitlines())
    if lines > MAX_FILE_LINES:
        yield Finding(source.path, 1, "file-size", f"{lines} lines, at most {MAX_FILE_LINES}")
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            limit = MAX_FUNCTION_LINES
        elif isinstance(node, ast.ClassDef):
            limit = MAX_CLASS_LINES
        else:
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > limit:
            kind = "class" if limit == MAX_CLASS_LINES else "function"
            detail = f"{node.name} has {lines} lines, at most {limit}"
            yield Finding(source.path, node.lineno, f"{kind}-size", detail)


def names(source: Source) -> Iterator[Finding]:
    """Files and folders whose name says nothing."""
    for part in source.path.removesuffix(".py").split("/"):
        if BANNED_NAME.search(part):
            yield Finding(source.path, 1, "name", f"{part!r} does not say what is inside")


def ends_in_raise(handler: ast.ExceptHandler) -> bool:
    """Whether the handler only cleans up: its last statement is a bare `raise`."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def is_broad(kind: ast.expr | None) -> bool:
    """Whether an except clause of this type catches everything."""
    if kind is None:
        return True
    if isinstance(kind, ast.Tuple):
        return any(is_broad(part) for part in kind.elts)
    name = dotted_name(kind)
    return name is not None and name.removeprefix("builtins.") in {"Exception", "BaseException"}


def broad_excepts(source: Source) -> Iterator[Finding]:
    """Handlers that catch everything and do not raise it again, `contextlib.suppress` included."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type) and not ends_in_raise(node):
            yield Finding(source.path, node.lineno, "broad-except", "catches everything")
        elif calls(node, {"suppress", "contextlib.suppress"}) and any(map(is_broad, node.args)):
            yield Finding(source.path, node.lineno, "broad-except", "suppresses everything")


def is_zero_sleep(call: ast.Call) -> bool:
    """Whether a sleep only lets others run: its one argument is the constant 0."""
    return len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def nondeterminism(source: Source) -> Iterator[Finding]:
    """Time, sleeping and chance on the server outside the two modules that own them."""
    if not source.path.startswith(SERVER) or source.path in NONDETERMINISM_OWNERS:
        return
    for line, name in imported_names(source.tree):
        if names_prefix(name, NONDETERMINISTIC_MODULES | NONDETERMINISTIC_CALLS):
            yield Finding(source.path, line, "nondeterminism", f"imports {name}")
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted_name(node.func) or ""
        called = {name, ".".join(name.split(".")[-2:])} & NONDETERMINISTIC_CALLS
        if called and not ("asyncio.sleep" in called and is_zero_sleep(node)):
            yield Finding(source.path, node.lineno, "nondeterminism", f"calls {name}")


def sleeping_tests(source: Source) -> Iterator[Finding]:
    """Tests that wait by sleeping; the benchmark, which measures time, is not one."""
    if not source.path.startswith("tests/") or source.path.startswith("tests/bench/"):
        return
    for line, name in imported_names(source.tree):
        if name in {"time.sleep", "asyncio.sleep"}:
            yield Finding(source.path, line, "sleeping-test", f"imports {name}")
    for node in ast.walk(source.tree):
        if calls(node, {"time.sleep", "asyncio.sleep"}) and not is_zero_sleep(node):
            yield Finding(source.path, node.lineno, "sleeping-test", "await a signal or a stream instead")


def kernel_imports(source: Source) -> Iterator[Finding]:
    """Imports of the kernel that are neither the standard library nor the kernel."""
    if not source.path.startswith(KERNEL):
        return
    for line, name in imported_names(source.tree):
        if not names_prefix(name, KERNEL_IMPORTS):
            yield Finding(source.path, line, "kernel-import", f"imports {name}")


def kernel_vocabulary(source: Source) -> Iterator[Finding]:
    """Words in the kernel that belong to other layers, in names, texts and comments."""
    if not source.path.startswith(KERNEL):
        return
    for number, line in enumerate(source.text.splitlines(), start=1):
        found = FOREIGN_VOCABULARY.search(line)
        if found:
            yield Finding(source.path, number, "kernel-vocabulary", f"speaks of {found.group()!r}")


RULES: tuple[Rule, ...] = (
    sizes,
    names,
    broad_excepts,
    nondeterminism,
    sleeping_tests,
    kernel_imports,
    kernel_vocabulary,
)


def findings(sources: Sequence[Source]) -> list[Finding]:
    """What all rules say about all sources."""
    return [finding for source in sources for rule in RULES for finding in rule(source)]


def is_entry_point(source: Source) -> bool:
    """Whether something other than an import starts the module: a test, a package, a script, a migration."""
    name = source.path.rsplit("/", 1)[-1]
    if name in {"__init__.py", "__main__.py", "conftest.py", "env.py"} or name.startswith("test_"):
        return True
    if "/migrations/versions/" in source.path:
        return True
    tests = [ast.unparse(node.test) for node in source.tree.body if isinstance(node, ast.If)]
    return "__name__ == '__main__'" in tests


def dead_modules(sources: Sequence[Source], scripts: Collection[str]) -> Iterator[Finding]:
    """Modules that nobody imports. A server module that only tests import is dead too.

    `scripts` are the modules that the distribution starts by name.
    """
    used: set[str] = set(scripts)
    used_by_tests: set[str] = set()
    for source in sources:
        seen = used_by_tests if source.path.startswith("tests/") else used
        is_package = source.path.endswith("/__init__.py")
        for _, name in imported_names(source.tree):
            # What a module has below its name is itself; what a package has there are its modules.
            if is_package or not name.startswith(source.module + "."):
                seen.update({name, name.rpartition(".")[0]})
    for source in sources:
        alive = used if source.path.startswith(SERVER) else used | used_by_tests
        if source.module not in alive and not is_entry_point(source):
            yield Finding(source.path, 1, "dead-module", f"nobody imports {source.module}")
