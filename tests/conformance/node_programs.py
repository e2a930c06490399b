"""The Node programs of `node_host`, with their packages installed on first use into a git-ignored folder."""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "node_host"
_CLIENT = FOLDER.parent.parent.parent / "clients" / "typescript"
_STAMP = FOLDER / "node_modules" / ".installed"


class NodeProgramError(Exception):
    """Node or npm did not do what was asked; the text holds their output."""


def node_is_here() -> bool:
    """Whether Node and npm are installed."""
    return shutil.which("node") is not None and shutil.which("npm") is not None


def packages_are_current() -> bool:
    """Whether the packages are installed, and not older than the generated code that is one of them."""
    if not _STAMP.is_file():
        return False
    installed_at = _STAMP.stat().st_mtime
    sources = [FOLDER / "package.json", _CLIENT / "package.json", *(_CLIENT / "gen").rglob("*.js")]
    return all(source.stat().st_mtime <= installed_at for source in sources)


async def install_packages() -> None:
    """Installs what the programs import, the generated code copied in like any other package.

    Raises:
        NodeProgramError: npm failed.
    """
    if packages_are_current():
        return
    shutil.rmtree(FOLDER / "node_modules", ignore_errors=True)
    quiet = ("--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
    await _run("npm", "install", "--install-links", *quiet)
    _STAMP.touch()


async def run_program(name: str, *arguments: str) -> dict[str, Any]:
    """Runs one of the programs and returns the JSON object that it prints, whatever its exit code.

    Raises:
        NodeProgramError: it printed none.
    """
    await install_packages()
    output = await _run("node", str(FOLDER / name), *arguments, may_fail=True)
    try:
        return json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        raise NodeProgramError(f"{name} printed no JSON:\n{output}") from None


async def _run(*command: str, may_fail: bool = False) -> str:
    process = await asyncio.create_subprocess_exec(*command, cwd=FOLDER, stdout=PIPE, stderr=PIPE)
    output, errors = await process.communicate()
    if process.returncode and not (may_fail and output):
        raise NodeProgramError(f"{' '.join(command)} failed:\n{(output + errors).decode(errors='replace')}")
    return output.decode(errors="replace")
