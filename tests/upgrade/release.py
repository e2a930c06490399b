"""The tree of the last release, as its commit has it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from tests.e2e.processes import ROOT, Program, Server

FOLDERS = ("clients/python", "server", "README.md")


def last_release() -> tuple[str, str]:
    """Tag and commit of the last line of RELEASES."""
    lines = (ROOT / "RELEASES").read_text(encoding="utf-8").splitlines()
    tag, commit = [line for line in lines if line and not line.startswith("#")][-1].split()
    return tag, commit


def is_here(commit: str) -> bool:
    """Whether this clone has the commit; a shallow one has not."""
    found = subprocess.run(
        ["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=ROOT, check=False, capture_output=True
    )
    return found.returncode == 0


@dataclass(frozen=True)
class Release:
    """A release whose code is in a folder.

    Args:
        tag: for messages.
        folder: holds FOLDERS as they were.
    """

    tag: str
    folder: Path

    @classmethod
    def unpack(cls, folder: Path) -> Release:
        """Writes the last release's code below a folder."""
        tag, commit = last_release()
        archive = subprocess.run(["git", "archive", commit, *FOLDERS], cwd=ROOT, check=True, capture_output=True)
        with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        return cls(tag, folder)

    def environment(self) -> dict[str, str]:
        """What makes an interpreter import the release's code, and not this checkout's."""
        paths = [self.folder / "clients" / "python", self.folder / "server"]
        return {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}

    async def serve(self, store: Path, *flags: str) -> Server:
        """The release's own server."""
        return await Server.serve(f"sqlite:///{store}", *flags, environment=self.environment())

    async def run(self, program: Path, *arguments: str) -> Program:
        """Runs a file with the release's client, to its end."""
        child = await Program.start(self.tag, sys.executable, str(program), *arguments, environment=self.environment())
        await child.ended()
        return child

    async def where(self, module: str) -> Path:
        """The file that the release's interpreter imports under a name."""
        child = await Program.start(
            self.tag, sys.executable, "-c", f"import {module} as m; print(m.__file__)", environment=self.environment()
        )
        await child.ended()
        return Path(child.lines[-1])
