"""The whole tree passes the tidy checker."""

import tomllib
from collections import Counter

import pytest

from tests.architecture import tidy
from tests.architecture.source import ROOT, Source, python_sources

# The only handlers that may catch everything: the edges between us and code we did not write, with the
# number of handlers in each and what the edge is.
BROAD_EXCEPTS: dict[str, tuple[int, str]] = {
    "clients/python/perdure/worker/executor.py": (2, "the user's handlers; their errors are reported"),
    "server/perdure_server/api/guard.py": (1, "a call; its error is logged and answered by an id"),
    "server/perdure_server/loop.py": (1, "a pass of a background loop; the loop goes on"),
    "server/perdure_server/engine/committer.py": (2, "the writing thread, whose callers get the error; one answer"),
    "server/perdure_server/engine/intake.py": (2, "one run's decision or load; its callers get the error"),
}


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return python_sources()


def test_no_rule_is_broken(sources: list[Source]) -> None:
    found = [finding for finding in tidy.findings(sources) if finding.rule != "broad-except"]
    assert not found, "\n" + "\n".join(map(str, found))


def test_broad_excepts_are_the_listed_edges(sources: list[Source]) -> None:
    found = [finding for finding in tidy.findings(sources) if finding.rule == "broad-except"]
    counted = Counter(finding.path for finding in found)
    listed = {path: count for path, (count, _) in BROAD_EXCEPTS.items()}
    assert counted == listed, "\n" + "\n".join(map(str, found))


def test_no_module_is_dead(sources: list[Source]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    scripts = [target.partition(":")[0] for target in project["scripts"].values()]
    found = list(tidy.dead_modules(sources, scripts))
    assert not found, "\n" + "\n".join(map(str, found))
