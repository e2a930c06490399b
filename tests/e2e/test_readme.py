"""The README tells the truth: its snippet runs against a real server, and the files it names are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from perdure_server.app import open_server
from perdure_server.config import Config

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


async def test_the_snippet_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    async with open_server(Config(store="memory:", listen="127.0.0.1:0", drain_seconds=1.0)) as app:
        await names["main"](app.address)
    assert capsys.readouterr().out == "{'approved': True}\n"


def test_every_file_it_names_exists() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
