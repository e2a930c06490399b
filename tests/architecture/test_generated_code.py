"""The committed Python code runs on the oldest runtimes that we advertise, and drift is found."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.architecture.source import ROOT
from tools import verify_generated

PYTHON_CODE = ROOT / "clients/python/perdure/v1"
PROTOBUF_DEMAND = re.compile(r"ValidateProtobufRuntimeVersion\(\s*\S+,\s*(\d+),\s*(\d+),\s*(\d+),")
GRPC_DEMAND = re.compile(r"^GRPC_GENERATED_VERSION = '([\d.]+)'$", re.MULTILINE)

Version = tuple[int, ...]


def version(text: str) -> Version:
    """`1.76` as (1, 76, 0)."""
    parts = [int(part) for part in text.split(".")]
    return tuple([*parts, 0, 0][:3])


def advertised(package: str) -> Version:
    """The lower bound of one of the SDK's dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [re.match(rf"{package}>=([\d.]+)", line) for line in project["dependencies"]]
    (bound,) = [match.group(1) for match in found if match]
    return version(bound)


def demanded(pattern: re.Pattern[str], glob: str) -> set[Version]:
    """The runtime versions that generated modules insist on."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(PYTHON_CODE.glob(glob))]
    matches = [pattern.search(text) for text in texts]
    assert matches
    assert all(matches), "a generated module no longer names its runtime as this test expects"
    return {version(".".join(match.groups())) for match in matches if match}


def test_generated_messages_accept_the_oldest_protobuf() -> None:
    assert max(demanded(PROTOBUF_DEMAND, "*_pb2.py")) <= advertised("protobuf")


def test_generated_services_accept_the_oldest_grpcio() -> None:
    assert max(demanded(GRPC_DEMAND, "*_pb2_grpc.py")) <= advertised("grpcio")


def test_every_output_folder_is_compared() -> None:
    template = (ROOT / verify_generated.TEMPLATE).read_text(encoding="utf-8")
    folders = verify_generated.output_folders(template)
    assert len(folders) == 5
    assert all((ROOT / folder).is_dir() for folder in folders)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders with the same two files: what is committed, and what was made just now."""
    for name in ("committed", "fresh"):
        (tmp_path / name / "v1").mkdir(parents=True)
        (tmp_path / name / "v1/a.py").write_text("a = 1\n")
        (tmp_path / name / "v1/b.py").write_text("b = 1\n")
    return tmp_path / "committed", tmp_path / "fresh"


def test_equal_folders_do_not_differ(folders: tuple[Path, Path]) -> None:
    committed, fresh = folders
    (committed / "v1/__pycache__").mkdir()
    (committed / "v1/__pycache__/a.pyc").touch()
    assert list(verify_generated.differences(committed, fresh)) == []


def test_each_kind_of_drift_is_named(folders: tuple[Path, Path]) -> None:
    committed, fresh = folders
    (committed / "v1/a.py").write_text("a = 2\n")
    (committed / "v1/b.py").unlink()
    (committed / "v1/old.py").touch()
    assert list(verify_generated.differences(committed, fresh)) == [
        "missing    v1/b.py",
        "left over  v1/old.py",
        "different  v1/a.py",
    ]


def test_a_folder_that_was_never_generated_is_all_missing(folders: tuple[Path, Path], tmp_path: Path) -> None:
    found = verify_generated.differences(tmp_path / "nowhere", folders[1])
    assert list(found) == ["missing    v1/a.py", "missing    v1/b.py"]
