"""The guides' Python snippets, executed in order in one namespace each."""

from pathlib import Path
from typing import Any

import pytest

from perdure import testing
from tests.sdk.test_readme import execute, snippets

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("guide", "count"), [("schedules.md", 3)])
async def test_every_snippet_of_a_guide_runs(guide: str, count: int) -> None:
    namespace: dict[str, Any] = {}
    found = snippets((DOCS / guide).read_text(encoding="utf-8"))
    assert len(found) == count
    async with testing.server() as env:
        for snippet in found:
            await execute(snippet.replace("localhost:7171", env.address), namespace)
