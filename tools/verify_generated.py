"""Regenerates what is generated in a scratch folder and compares it with what is committed.

Exit status 0 when both agree; 1 with one line for each file that is missing, left over or different.
"""

import filecmp
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = Path("proto/buf.gen.yaml")
BUF = Path(".tools/node/node_modules/.bin/buf")
SHOWN = 40


def output_folders(template: str) -> list[Path]:
    """The distinct `out` folders of a buf generation template, in their order."""
    found = re.findall(r"^\s+out: (\S+)$", template, flags=re.MULTILINE)
    return [Path(folder) for folder in dict.fromkeys(found)]


def files_below(folder: Path) -> set[Path]:
    """Every file below `folder`, relative to it; byte code left by an import does not count."""
    return {
        path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }


def differences(committed: Path, fresh: Path) -> Iterator[str]:
    """One line for each file in which the folder `committed` is not the folder `fresh`."""
    have, want = files_below(committed), files_below(fresh)
    for name in sorted(want - have):
        yield f"missing    {name}"
    for name in sorted(have - want):
        yield f"left over  {name}"
    for name in sorted(have & want):
        if not filecmp.cmp(committed / name, fresh / name, shallow=False):
            yield f"different  {name}"


def regenerate(out: Path) -> None:
    """Runs buf as `make gen` does, with every output folder below `out`."""
    command = [str(BUF), "generate", "proto", "--template", str(TEMPLATE), "--output", str(out)]
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> int:
    """Compares all output folders; see the module's text for the exit status."""
    folders = output_folders((ROOT / TEMPLATE).read_text(encoding="utf-8"))
    found: list[str] = []
    count = 0
    with tempfile.TemporaryDirectory() as scratch:
        regenerate(Path(scratch))
        for folder in folders:
            fresh = Path(scratch) / folder
            count += len(files_below(fresh))
            found += [f"{line}  ({folder})" for line in differences(ROOT / folder, fresh)]
    for line in found[:SHOWN]:
        sys.stdout.write(line + "\n")
    if found:
        sys.stdout.write(f"verify: {len(found)} generated files differ; run `make gen`, commit the result\n")
        return 1
    sys.stdout.write(f"verify: {count} generated files in {len(folders)} folders are as generated\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
