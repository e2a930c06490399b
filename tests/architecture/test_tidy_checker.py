"""Each rule of the tidy checker finds the fault it is there for, and lets the neighbouring good case pass."""

from collections.abc import Callable, Iterator

import pytest

from tests.architecture import tidy
from tests.architecture.source import Source

ENGINE = "server/perdure_server/engine/start_run.py"
KERNEL = "server/perdure_server/kernel/decide.py"
TEST = "tests/engine/test_start_run.py"


def body(lines: int) -> str:
    return "\n".join("    x = 1" for _ in range(lines))


def rules_broken(rule: Callable[[Source], Iterator[tidy.Finding]], path: str, text: str) -> list[str]:
    return [finding.rule for finding in rule(Source(path, text))]


SIZE_CASES: list[tuple[str, list[str]]] = [
    ("def f():\n" + body(69), []),
    ("def f():\n" + body(70), ["function-size"]),
    ("async def f():\n" + body(70), ["function-size"]),
    ("class C:\n" + body(349), []),
    ("class C:\n" + body(350), ["class-size"]),
    ("x = 1\n" * 600, []),
    ("x = 1\n" * 601, ["file-size"]),
]


@pytest.mark.parametrize(("text", "expected"), SIZE_CASES)
def test_sizes(text: str, expected: list[str]) -> None:
    assert rules_broken(tidy.sizes, ENGINE, text) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("server/perdure_server/engine/utils.py", ["name"]),
        ("server/perdure_server/helpers/start.py", ["name"]),
        ("tests/json_util.py", ["name"]),
        ("clients/python/perdure/run_manager.py", ["name"]),
        ("server/perdure_server/storage/common.py", ["name"]),
        ("server/perdure_server/engine/commonly_waited.py", []),
        ("server/perdure_server/kernel/miscount.py", []),
    ],
)
def test_names(path: str, expected: list[str]) -> None:
    assert rules_broken(tidy.names, path, "") == expected


@pytest.mark.parametrize(
    ("clause", "action", "expected"),
    [
        ("except Exception:", "pass", ["broad-except"]),
        ("except BaseException as error:", "log(error)", ["broad-except"]),
        ("except (ValueError, Exception):", "pass", ["broad-except"]),
        ("except builtins.Exception:", "pass", ["broad-except"]),
        ("except:", "pass", ["broad-except"]),
        ("except Exception as error:", "raise Other from error", ["broad-except"]),
        ("except BaseException:", "raise", []),
        ("except ValueError:", "pass", []),
        ("except ExceptionGroup:", "pass", []),
    ],
)
def test_broad_excepts(clause: str, action: str, expected: list[str]) -> None:
    text = f"try:\n    f()\n{clause}\n    {action}\n"
    assert rules_broken(tidy.broad_excepts, ENGINE, text) == expected


def test_broad_suppress() -> None:
    text = "with contextlib.suppress(Exception):\n    f()\nwith suppress(KeyError):\n    f()\n"
    assert rules_broken(tidy.broad_excepts, ENGINE, text) == ["broad-except"]


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from time import monotonic",
        "from uuid import uuid4",
        "import random",
        "import secrets",
        "from os import urandom",
        "from asyncio import sleep",
        "import os\nos.urandom(16)",
        "import datetime\ndatetime.datetime.now(tz)",
        "from datetime import datetime\ndatetime.now(UTC)",
        "import asyncio\nasync def f():\n    await asyncio.sleep(0.1)",
    ],
)
def test_nondeterminism_on_the_server(text: str) -> None:
    assert rules_broken(tidy.nondeterminism, ENGINE, text) == ["nondeterminism"]
    assert rules_broken(tidy.nondeterminism, "server/perdure_server/clock.py", text) == []
    assert rules_broken(tidy.nondeterminism, "clients/python/perdure/worker.py", text) == []


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio\nasync def f():\n    await asyncio.sleep(0)",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
        "from perdure_server.clock import Clock\ndef f(clock: Clock):\n    clock.now()",
        "import timeit",
    ],
)
def test_determinism_is_left_alone(text: str) -> None:
    assert rules_broken(tidy.nondeterminism, ENGINE, text) == []


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (TEST, "import asyncio\nasync def f():\n    await asyncio.sleep(0.1)", ["sleeping-test"]),
        (TEST, "import time\ntime.sleep(1)", ["sleeping-test"]),
        (TEST, "from time import sleep", ["sleeping-test"]),
        (TEST, "import asyncio\nasync def f():\n    await asyncio.sleep(0)", []),
        ("tests/bench/load.py", "import time\ntime.sleep(1)", []),
    ],
)
def test_sleeping_tests(path: str, text: str, expected: list[str]) -> None:
    assert rules_broken(tidy.sleeping_tests, path, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import orjson", ["kernel-import"]),
        ("from google.protobuf import message", ["kernel-import"]),
        ("from perdure_server.storage import port", ["kernel-import"]),
        ("def f():\n    import sqlalchemy", ["kernel-import"]),
        ("import hashlib\nfrom perdure_server.kernel.run import Run", []),
        ("from perdure_server.kernel import run", []),
    ],
)
def test_kernel_imports(text: str, expected: list[str]) -> None:
    assert rules_broken(tidy.kernel_imports, KERNEL, text) == expected
    assert rules_broken(tidy.kernel_imports, ENGINE, text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("LLM_CALL = 'llm_call'", ["kernel-vocabulary"]),
        ("def is_tool_call(): ...", ["kernel-vocabulary"]),
        ("# what gRPC calls a deadline", ["kernel-vocabulary"]),
        ("def fulfilment(): ...", []),
        ("# written by tools/state_machine.py, `python -m tools.state_machine`", []),
    ],
)
def test_kernel_vocabulary(text: str, expected: list[str]) -> None:
    assert rules_broken(tidy.kernel_vocabulary, KERNEL, text) == expected
    assert rules_broken(tidy.kernel_vocabulary, ENGINE, text) == []


def dead(*sources: Source) -> list[str]:
    return [finding.path for finding in tidy.dead_modules(sources, ["perdure_server.cli"])]


def test_a_module_nobody_imports_is_dead() -> None:
    cli = Source("server/perdure_server/cli.py", "from perdure_server.engine import cancel_run\n")
    cancel = Source("server/perdure_server/engine/cancel_run.py", "")
    assert dead(cli, cancel) == []
    assert dead(cli, cancel, Source(ENGINE, "")) == [ENGINE]


def test_a_server_module_only_tests_import_is_dead() -> None:
    imports = "from perdure_server.engine.start_run import start\nfrom perdure.testing import server\n"
    test = Source(TEST, imports)
    sdk = Source("clients/python/perdure/testing.py", "")
    assert dead(test, sdk, Source(ENGINE, "")) == [ENGINE]


def test_a_module_that_imports_itself_is_dead() -> None:
    assert dead(Source(ENGINE, "from perdure_server.engine.start_run import start\n")) == [ENGINE]


def test_a_module_that_its_own_package_imports_is_alive() -> None:
    package = Source("server/perdure_server/engine/__init__.py", "from perdure_server.engine.start_run import start\n")
    assert dead(package, Source(ENGINE, "")) == []


def test_what_is_started_by_name_is_alive() -> None:
    script = Source("tests/e2e/demo.py", 'if __name__ == "__main__":\n    main()\n')
    migration = Source("server/perdure_server/storage/sql/migrations/versions/v0001_first.py", "")
    package = Source("server/perdure_server/engine/__init__.py", "")
    assert dead(script, migration, package) == []
