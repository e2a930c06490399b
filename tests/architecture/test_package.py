"""The package's metadata: what it says of itself, and that it asks for nothing that it does not import."""

import ast
import re
import tomllib
from importlib.metadata import files
from typing import Any

import pytest

from tests.architecture.source import ROOT, Source, tracked_files

SDK = "clients/python/perdure/"
SERVER = "server/perdure_server/"


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def imported(folder: str) -> set[str]:
    """Dotted names that a folder's modules import, generated ones included."""
    names: set[str] = set()
    for path in tracked_files():
        if not path.startswith(folder) or not path.endswith(".py"):
            continue
        for node in ast.walk(Source(path, (ROOT / path).read_text(encoding="utf-8")).tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def provided(requirement: str) -> set[str]:
    """Dotted names of the modules and packages that a required distribution installs."""
    distribution = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]
    modules = [path for path in files(distribution) or () if path.suffix in (".py", ".so") and ".." not in path.parts]
    dotted = {".".join([*path.parent.parts, path.name.partition(".")[0]]) for path in modules}
    return dotted | {name.removesuffix(".__init__") for name in dotted}


def unused(requirements: list[str], folder: str) -> list[str]:
    """Those of the requirements of which a folder imports nothing."""
    names = imported(folder)
    return [requirement for requirement in requirements if not provided(requirement) & names]


@pytest.mark.parametrize("folder", [SDK, SERVER])
def test_what_is_required_is_imported(folder: str) -> None:
    facts = project()
    requirements = facts["dependencies"] if folder == SDK else facts["optional-dependencies"]["server"]
    assert requirements
    assert unused(requirements, folder) == []


def test_a_requirement_that_nobody_imports_is_found() -> None:
    assert unused(["pytest>=8", "grpcio>=1"], SDK) == ["pytest>=8"]
    assert unused(["jsonschema>=4"], SDK) == ["jsonschema>=4"]


def test_the_package_shows_the_readme() -> None:
    text = (ROOT / project()["readme"]).read_text(encoding="utf-8")
    assert text.startswith("# Perdure")
