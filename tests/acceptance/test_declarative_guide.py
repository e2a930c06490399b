"""docs/declarative.md: its workflow file and its Python say the same, and the workflow runs to its end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from perdure import testing
from perdure.v1.model_pb2 import WorkflowSpec
from perdure_server.cli.spec_file import read_spec, spec_form

PAGE = (Path(__file__).parents[2] / "docs" / "declarative.md").read_text(encoding="utf-8")


def listing(language: str) -> str:
    """The page's one listing in a language."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return text


def in_python() -> WorkflowSpec:
    """The workflow that the Python listing declares."""
    names: dict[str, Any] = {}
    exec(compile(listing("python"), "docs/declarative.md", "exec"), names)
    return names["order"].spec()


def test_both_listings_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_text(listing("json"), encoding="utf-8")
    declared = spec_form(in_python())
    assert declared["nodes"]["sorry"]["template"].pop("retryable") is False
    assert spec_form(read_spec(file)) == declared


async def test_the_workflow_of_the_page_runs_to_its_end() -> None:
    lines = [{"price": 60.5, "count": 2}, {"price": 1.25, "count": 0}, {"price": 0.5, "count": 3}]
    async with testing.server() as env:
        await env.client.register_workflow(in_python(), set_default=True)
        small = await env.client.start("order", {"lines": lines[1:]})
        assert (await small.wait(until="ended", timeout=30)).output == {"approved": True}
        run = await env.client.start("order", {"lines": lines})
        state = await run.wait(timeout=30)
        assert state.waiting is not None
        assert (state.waiting.reason, state.waiting.needed) == ("join", 2)
        await env.settle()
        [asked] = await env.client.list_waits().all()
        assert asked.wait.prompt == "Approve 2 lines?"
        await env.client.run(asked.run_id).resume("yes", wait_id=asked.wait.wait_id)
        await env.advance(seconds=61)
        ended = await run.wait(until="ended", timeout=30)
        assert ended.output == {"approved": True, "sums": [121.0, 1.5]}
