"""The README's snippets, executed in order in one namespace, as `python -m asyncio` would."""

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from perdure import testing

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(text: str) -> list[str]:
    """The Python blocks, each on the line where it stands."""
    return ["\n" * text[: found.start(1)].count("\n") + found[1] for found in SNIPPET.finditer(text)]


async def execute(source: str, namespace: dict[str, Any]) -> None:
    """Runs a snippet; one for scripts without asyncio runs in a thread, and tests that it defines are run too."""
    known = set(namespace)
    code = compile(source, str(README), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if "perdure.sync" in source:
        await asyncio.to_thread(eval, code, namespace)
    else:
        result = eval(code, namespace)
        if inspect.isawaitable(result):
            await result
    for name in namespace.keys() - known:
        if name.startswith("test_"):
            await namespace[name]()


async def test_every_snippet_runs(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    found = snippets(README.read_text())
    assert len(found) == 5
    async with testing.server() as env:
        for snippet in found:
            await execute(snippet.replace("localhost:7171", env.address), namespace)
        await namespace["client"].close()
    printed = capsys.readouterr().out
    assert "Ship it?" in printed
    assert "'paid': 12" in printed
    assert "step_begun" in printed
    assert "RUN_ENDED" in printed


async def test_a_snippet_that_fails_is_seen() -> None:
    with pytest.raises(AssertionError):
        await execute("async def test_it():\n    assert False\n", {})
    with pytest.raises(ZeroDivisionError):
        await execute("import asyncio\nawait asyncio.sleep(0)\n1 / 0\n", {})
