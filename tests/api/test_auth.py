"""Token files, and what a token opens."""

import hashlib
from pathlib import Path

import pytest

from perdure_server.api.auth import Anybody, Caller, TokenFileError, parse_tokens, read_token_file
from perdure_server.api.problems import EdgeError

TOKEN = "0123456789abcdef0123"
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()


class Brought:
    """Credentials as a test gives them."""

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def authorization(self) -> str:
        return self._authorization

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"


@pytest.mark.parametrize("column", [TOKEN, f"sha256:{HASH}", f"SHA256:{HASH.upper()}"])
def test_a_token_is_known_in_plain_and_hashed(column: str) -> None:
    tokens = parse_tokens([f"ci\t{column}  a,b # the build"])
    assert tokens.identify(Brought(f"Bearer {TOKEN}")) == Caller("ci", frozenset({"a", "b"}))
    assert tokens.identify(Brought(f"bearer {TOKEN} ")).name == "ci"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", "Bearer wrong", f"Bearer {HASH}"])
def test_anything_else_is_unauthenticated(header: str) -> None:
    tokens = parse_tokens([f"ci {TOKEN} *"])
    with pytest.raises(EdgeError) as caught:
        tokens.identify(Brought(header))
    assert caught.value.reason == "UNAUTHENTICATED"
    assert TOKEN not in caught.value.message


def test_a_caller_is_bound_to_namespaces() -> None:
    caller = Caller("ci", frozenset({"a"}))
    caller.require("a")
    with pytest.raises(EdgeError) as caught:
        caller.require("b")
    assert caught.value.reason == "NAMESPACE_DENIED"
    for everything in (Caller("root"), parse_tokens([f"root {TOKEN} a,*"]).identify(Brought(f"Bearer {TOKEN}"))):
        everything.require("b")
    assert Anybody().identify(Brought("")).namespaces is None


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([], "names nobody"),
        (["# nobody"], "names nobody"),
        (["ci only-two"], "line 1: takes NAME"),
        ([f"ci {TOKEN} a extra"], "line 1: takes NAME"),
        (["", "ci short a"], "line 2: a token has at least 16"),
        (["ci sha256:12 a"], "line 1: sha256: takes 64"),
        ([f"ci {TOKEN} a/b"], "line 1: 'a/b' is no namespace"),
        ([f"ci {TOKEN} ,"], "line 1: names no namespace"),
        ([f"ci {TOKEN} a", f"cd sha256:{HASH} b"], "line 2: ci has the same token"),
    ],
)
def test_a_bad_token_file_names_the_line_and_no_token(lines: list[str], what: str) -> None:
    with pytest.raises(TokenFileError, match=what) as caught:
        parse_tokens(lines)
    assert TOKEN not in str(caught.value)


def test_a_token_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"ci {TOKEN} *\n", encoding="utf-8")
    assert read_token_file(path).identify(Brought(f"Bearer {TOKEN}")).name == "ci"
    path.write_bytes(b"\xff\xfe")
    for unreadable in (path, tmp_path / "missing", tmp_path):
        with pytest.raises(TokenFileError, match="cannot be read"):
            read_token_file(unreadable)
