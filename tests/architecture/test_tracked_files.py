"""No tracked file ties the repository to one machine: no registry's host, no checkout's path, no lock file.

The hosts are not written here: they are asked of the package clients of the machine that runs the test.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.architecture.source import GENERATED_FOLDERS, ROOT, is_generated, tracked_files

LOCK_FILES = frozenset(
    {
        "Cargo.lock",
        "Pipfile.lock",
        "npm-shrinkwrap.json",
        "package-lock.json",
        "pdm.lock",
        "pnpm-lock.yaml",
        "poetry.lock",
        "pylock.toml",
        "uv.lock",
        "yarn.lock",
    }
)
ADDRESS = re.compile(r"https?://[^\s\"'<>,|]+")
# Addresses inside the clients' own settings that are names, not places to download from.
NAMESPACES = frozenset({"maven.apache.org", "www.w3.org", "www.apache.org"})
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_FILE_BYTES = 1_000_000


def said_by(*command: str) -> str:
    """What a client prints about its settings; nothing where the client is not installed."""
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT).stdout


def settings_texts() -> Iterator[str]:
    """Every text on this machine in which a package client names its registry."""
    home = Path.home()
    yield said_by(sys.executable, "-m", "pip", "config", "list")
    # The default index stands in the description of the option.
    yield said_by(sys.executable, "-m", "pip", "download", "--help")
    yield said_by("npm", "config", "get", "registry")
    yield said_by("go", "env", "GOPROXY")
    yield said_by("go", "env", "GOSUMDB")
    for settings in (home / ".cargo/config.toml", home / ".cargo/config", home / ".m2/settings.xml"):
        if settings.is_file():
            yield settings.read_text(encoding="utf-8")
    # Cargo names the folder of an index "<host>-<hash>".
    for index in (home / ".cargo/registry/index").glob("*-*"):
        yield "https://" + index.name.rpartition("-")[0]
    # Maven's default repository stands in the project that all projects inherit.
    command = shutil.which("mvn")
    for jar in Path(command).resolve().parent.parent.glob("lib/maven-model-builder*.jar") if command else ():
        with zipfile.ZipFile(jar) as archive:
            yield archive.read("org/apache/maven/model/pom-4.0.0.xml").decode("utf-8")


def hosts_in(text: str) -> set[str]:
    """The hosts of all addresses in `text`, those that name no registry left out; `sum.host` alone counts."""
    addresses: list[str] = ADDRESS.findall(text)
    hosts = {urlsplit(address.rstrip(".)")).hostname or "" for address in addresses}
    bare = text.strip()
    if re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", bare):
        hosts.add(bare)
    return {host for host in hosts if "." in host} - NAMESPACES - LOCAL


def registry_hosts() -> set[str]:
    return set[str]().union(*(hosts_in(text) for text in settings_texts()))


def texts() -> Iterator[tuple[str, str]]:
    """Path and text of every tracked file; binary files are read byte by byte, so that they count too."""
    for path in tracked_files():
        yield path, (ROOT / path).read_bytes().decode("latin-1")


def files_with(needles: set[str]) -> list[str]:
    return [path for path, text in texts() if any(needle in text for needle in needles)]


def test_no_registry_host() -> None:
    hosts = registry_hosts()
    assert hosts, "pip alone names one, so the search for hosts is broken"
    assert files_with(hosts) == []


def test_no_path_of_this_checkout() -> None:
    if len(ROOT.parts) < 3:
        pytest.skip(f"{ROOT} is too short a path to look for")
    assert files_with({str(ROOT)}) == []


def test_no_lock_file() -> None:
    assert [path for path in tracked_files() if path.rsplit("/", 1)[-1] in LOCK_FILES] == []


def test_no_large_file() -> None:
    assert [path for path in tracked_files() if (ROOT / path).stat().st_size > MAX_FILE_BYTES] == []


def test_generated_folders_are_marked() -> None:
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8").splitlines()
    marked = {line.split()[0] for line in attributes if line.endswith("linguist-generated")}
    assert {f"{folder}**" for folder in GENERATED_FOLDERS} <= marked
    template = (ROOT / "proto/buf.gen.yaml").read_text(encoding="utf-8")
    outputs = set(re.findall(r"^\s+out: (\S+)$", template, flags=re.MULTILINE))
    assert {folder.rstrip("/") for folder in GENERATED_FOLDERS} == outputs


def test_generated_files_are_told_by_their_path() -> None:
    assert is_generated("clients/go/gen/perdure/v1/model.pb.go")
    assert is_generated("tests/bench/skeleton/skeleton_pb2.py")
    assert not is_generated("clients/python/perdure/client.py")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("registry = 'https://user:secret@mirror.example.org:8443/simple/'", {"mirror.example.org"}),
        ("https://proxy.example.org,direct", {"proxy.example.org"}),
        ("sum.example.org\n", {"sum.example.org"}),
        ("index-url='http://localhost:3141/root'", set[str]()),
        ("xmlns='http://maven.apache.org/POM/4.0.0'", set[str]()),
        ("(default https://index.example.org/simple).", {"index.example.org"}),
    ],
)
def test_hosts_are_read_from_settings(text: str, expected: set[str]) -> None:
    assert hosts_in(text) == expected


def test_a_planted_host_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    host = sorted(registry_hosts())[0]
    (tmp_path / "notes.md").write_text(f"see {host}/simple and {ROOT}\n")
    (tmp_path / "clean.md").write_text("nothing\n")
    for module in ("tests.architecture.source", __name__):
        monkeypatch.setattr(f"{module}.ROOT", tmp_path)
    assert files_with({host}) == ["notes.md"]
    assert files_with({str(Path(__file__).parent.parent.parent)}) == ["notes.md"]
