"""The tracked files of the repository, and the Python sources among them."""

import ast
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# Where our own Python lives; generated modules are told by their name or folder.
PYTHON_FOLDERS = ("server/", "clients/python/", "tests/", "tools/")
GENERATED_FOLDERS = (
    "clients/python/perdure/v1/",
    "clients/go/gen/",
    "clients/typescript/gen/",
    "clients/java/src/main/generated/",
    "clients/rust/src/gen/",
)

# Import root of each folder that holds packages.
IMPORT_ROOTS = ("server/", "clients/python/", "")


@dataclass(frozen=True)
class Source:
    """One Python file: its path from the repository's root, with forward slashes, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return ast.parse(self.text, filename=self.path)

    @property
    def module(self) -> str:
        """The dotted name under which the file is imported."""
        root = next(root for root in IMPORT_ROOTS if self.path.startswith(root))
        parts = self.path.removeprefix(root).removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tracked_files() -> list[str]:
    """Paths of all files that are tracked, or new and not ignored, in order."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(path for path in set(listing.split("\0")) if path and (ROOT / path).is_file())


def is_generated(path: str) -> bool:
    """Whether a generator wrote the file at `path`."""
    return path.startswith(GENERATED_FOLDERS) or "_pb2" in path.rsplit("/", 1)[-1]


def python_sources() -> list[Source]:
    """Every Python file that people wrote."""
    return [
        Source(path, (ROOT / path).read_text(encoding="utf-8"))
        for path in tracked_files()
        if path.endswith(".py") and path.startswith(PYTHON_FOLDERS) and not is_generated(path)
    ]
