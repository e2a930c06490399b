"""What deploy/Dockerfile builds, made without an engine: its own RUN line, in folders of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.source import tracked_files
from tests.deploy.dockerfile import Dockerfile
from tests.e2e.processes import ROOT

BUILD_TIMEOUT_S = 900


@dataclass(frozen=True)
class Installation:
    """An image's folders below a folder of the test.

    Args:
        root: stands for the image's root.
    """

    root: Path

    @classmethod
    def build(cls, root: Path) -> Installation:
        """Copies what COPY copies (tracked files only) and runs what RUN runs in the first stage."""
        made, file = cls(root), Dockerfile.read()
        source = made.path(file.only("WORKDIR", 0).text)
        for names, destination in file.copies():
            for name in names:
                made._copy(name, source / destination if len(names) == 1 else source)
        for each in file.all("RUN", 0):
            made._run(each.text, source)
        return made

    def path(self, text: str) -> Path:
        """A path of the image, here."""
        return self.root / text.lstrip("/")

    def here(self, text: str) -> str:
        """A text of the image with its folders replaced by those here."""
        for folder in ("/source", "/wheels", "/opt/perdure", "/var/lib/perdure", "/etc/perdure", "/run/secrets"):
            text = text.replace(folder, str(self.path(folder)))
        return text

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        """The variables of a container, here: only those, and what a program needs to start."""
        own = {name: self.here(value) for name, value in settings.items()}
        own["PATH"] = f"{self.path('/opt/perdure/bin')}{os.pathsep}{os.environ['PATH']}"
        return own

    def _copy(self, name: str, destination: Path) -> None:
        for path in tracked_files():
            if path == name or path.startswith(f"{name}/"):
                target = destination / (path.removeprefix(name).lstrip("/") or Path(name).name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, target)

    def _run(self, line: str, folder: Path) -> None:
        """A RUN line, with this interpreter as `python`."""
        tools = self.root / "tools"
        tools.mkdir(exist_ok=True)
        python = tools / "python"
        python.unlink(missing_ok=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        subprocess.run(
            ["sh", "-euc", self.here(line)],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
        )
