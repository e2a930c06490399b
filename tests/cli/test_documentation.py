"""docs/cli.md speaks of what there is: its commands, options and sample file work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perdure_server.cli.program import program
from perdure_server.cli.spec_file import read_spec, spec_form
from tests.e2e.processes import ROOT

GROUPS = {
    "run": (
        *("start", "get", "list", "tree", "wait", "resume", "cancel", "pause", "unpause", "resolve", "tick"),
        *("retry", "retry-failed", "migrate"),
    ),
    "ledger": ("show", "tail", "verify"),
    "workflow": ("register", "validate", "graph", "list", "show", "set-default"),
    "event": ("emit", "list"),
}

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def documented_commands() -> list[tuple[str, ...]]:
    """Every `perdure ...` at the start of a line of the page's listings, without its arguments."""
    found: list[tuple[str, ...]] = []
    for first, second in re.findall(r"^perdure ([a-z]+)(?: +([a-z|-]+))?", PAGE, re.MULTILINE):
        is_group = first in GROUPS or first in {"worker", "namespace"}
        found += [(first, name) for name in second.split("|")] if is_group else [(first,)]
    return found


def help_of(*words: str) -> str:
    result = CliRunner().invoke(program, [*words, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, words
    return result.stdout


def test_documented_commands_exist() -> None:
    commands = documented_commands()
    assert len(commands) >= 20
    for command in commands:
        assert "Usage: " in help_of(*command)


def test_documented_options_exist() -> None:
    paths = [("serve",), ("backup",), ("restore",), ("dev",), ("doctor",), ("inbox",), ()]
    paths += [(group, name) for group, names in GROUPS.items() for name in names]
    known = set(re.findall(r"--[a-z][a-z-]*", " ".join(help_of(*path) for path in paths)))
    documented = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE))
    assert documented - known == set()


def test_the_documented_workflow_file_is_read(tmp_path: Path) -> None:
    sample = next(text for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if "workflow_id" in text)
    file = tmp_path / "greeting.json"
    file.write_text(sample)
    assert spec_form(read_spec(file)) == json.loads(sample)


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"risk": "irreversible"}, {"risk": "irreversible"}),
        ({"kind": "NODE_KIND_FAIL"}, {"kind": "fail"}),
        (
            {"retry": {"max_attempts": 3, "initial_interval": 0.5}},
            {"retry": {"max_attempts": 3, "initial_interval": 0.5}},
        ),
        ({"timeouts": {"start_to_close": "90s"}}, {"timeouts": {"start_to_close": 90.0}}),
        ({"template_json": '{"a": 1}'}, {"template": {"a": 1}}),
        ({"inputs": ["/a", "/b"]}, {"inputs": ["/a", "/b"]}),
    ],
)
def test_short_and_long_forms_are_read(node: object, expected: object, tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    file.write_text(json.dumps({"workflow_id": "w", "entry_node": "n", "nodes": {"n": node}}))
    assert spec_form(read_spec(file))["nodes"]["n"] == expected
