"""Who calls, and which namespaces they may use.

A token file holds one caller a line, with `#` for comments:

    NAME  sha256:HEX | TOKEN  NAMESPACES

NAME is for logs and limits; the second column is the token itself, or better the hex SHA-256 of its bytes
(`printf %s "$TOKEN" | sha256sum`), so that the file gives nobody access; NAMESPACES are separated by commas,
`*` is all of them. Fields are separated by blanks. A caller sends `authorization: Bearer TOKEN`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from perdure_server.api.problems import EdgeError

EVERY: Final = "*"
MIN_TOKEN_CHARS: Final = 16
_HASHED: Final = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


class TokenFileError(ValueError):
    """A token file that cannot be used; names the line, never a token."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever makes a call. `namespaces` None: all."""

    name: str
    namespaces: frozenset[str] | None = None

    def require(self, namespace: str) -> None:
        """Raises: EdgeError (NAMESPACE_DENIED) if the caller may not use the namespace."""
        if self.namespaces is not None and namespace not in self.namespaces:
            raise EdgeError(
                "NAMESPACE_DENIED",
                f"{self.name} may not use namespace {namespace!r}; use a token that is bound to it",
                namespace=namespace,
            )


_SOMEBODY: Final = Caller("")


class Credentials(Protocol):
    """What a call brings; each is looked up only when asked for."""

    def authorization(self) -> str:
        """The header of that name; empty without one."""
        ...

    def peer(self) -> str:
        """The name in the verified client certificate, else the transport's address."""
        ...


class Authenticator(Protocol):
    """Finds out who calls."""

    def identify(self, credentials: Credentials) -> Caller:
        """The caller; without a name of their own, they go by `Credentials.peer`.

        Raises: EdgeError (UNAUTHENTICATED).
        """
        ...


class Anybody:
    """Everybody may use everything."""

    def identify(self, credentials: Credentials) -> Caller:
        """Somebody."""
        return _SOMEBODY


class TokenAuthenticator:
    """Bearer tokens, kept as hashes.

    Args:
        callers: hex SHA-256 of the token to its caller.
    """

    def __init__(self, callers: Mapping[bytes, Caller]) -> None:
        self._callers = dict(callers)

    def identify(self, credentials: Credentials) -> Caller:
        """The caller the token belongs to."""
        scheme, _, token = credentials.authorization().partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise EdgeError("UNAUTHENTICATED", "send a token: authorization: Bearer TOKEN")
        digest = hashlib.sha256(token.strip().encode()).digest()
        # What a lookup's time tells is a hash, which nobody can steer; the comparison itself tells nothing.
        known = next((key for key in self._callers if hmac.compare_digest(key, digest)), None)
        if known is None:
            raise EdgeError("UNAUTHENTICATED", "the token is not known; ask for a new one")
        return self._callers[known]


def read_token_file(path: Path) -> TokenAuthenticator:
    """Reads a token file. Raises: TokenFileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenFileError(f"token file {str(path)!r} cannot be read: {type(error).__name__}") from error
    return parse_tokens(text.splitlines(), str(path))


def parse_tokens(lines: Iterable[str], source: str = "token file") -> TokenAuthenticator:
    """Tokens from the lines of a token file. Raises: TokenFileError."""
    callers: dict[bytes, Caller] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        where = f"{source}, line {number}"
        if len(fields) != 3:
            raise TokenFileError(f"{where}: takes NAME, sha256:HEX or TOKEN, and NAMESPACES")
        name, token, namespaces = fields
        digest = _digest(token, where)
        if digest in callers:
            raise TokenFileError(f"{where}: {callers[digest].name} has the same token")
        callers[digest] = Caller(name, _namespaces(namespaces, where))
    if not callers:
        raise TokenFileError(f"{source}: names nobody, so nobody could call")
    return TokenAuthenticator(callers)


def _digest(token: str, where: str) -> bytes:
    hashed = _HASHED.fullmatch(token)
    if hashed:
        return bytes.fromhex(hashed[1])
    if token.lower().startswith("sha256:"):
        raise TokenFileError(f"{where}: sha256: takes 64 hex digits")
    if len(token) < MIN_TOKEN_CHARS:
        raise TokenFileError(f"{where}: a token has at least {MIN_TOKEN_CHARS} characters")
    return hashlib.sha256(token.encode()).digest()


def _namespaces(text: str, where: str) -> frozenset[str] | None:
    names = [name for name in text.split(",") if name]
    if EVERY in names:
        return None
    for name in names:
        if not _NAMESPACE.fullmatch(name):
            raise TokenFileError(f"{where}: {name!r} is no namespace")
    if not names:
        raise TokenFileError(f"{where}: names no namespace")
    return frozenset(names)
