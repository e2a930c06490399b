"""RFC 8259, read as it stands: one function a production, no shortcuts. What the fast check is held against."""

from __future__ import annotations

MIN_INTEGER = -(2**63)
MAX_INTEGER = 2**64 - 1
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Refused(Exception):
    """The text is not acceptable."""


class Reader:
    """Reads one text from its beginning to its end."""

    def __init__(self, text: str, depth: int) -> None:
        self.text = text
        self.at = 0
        self.depth = depth

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> None:
        if not self.text.startswith(expected, self.at):
            raise Refused(f"expected {expected!r} at {self.at}")
        self.at += len(expected)

    def blanks(self) -> None:
        while self.peek() in (" ", "\t", "\n", "\r") and self.peek():
            self.at += 1

    def document(self) -> object:
        self.blanks()
        value = self.value(self.depth)
        self.blanks()
        if self.at != len(self.text):
            raise Refused("something follows")
        return value

    def value(self, room: int) -> object:
        match self.peek():
            case "{":
                return self.members(room)
            case "[":
                return self.items(room)
            case '"':
                return self.string()
            case "t":
                self.take("true")
                return True
            case "f":
                self.take("false")
                return False
            case "n":
                self.take("null")
                return None
            case _:
                return self.number()

    def members(self, room: int) -> dict[str, object]:
        if room == 0:
            raise Refused("too deep")
        found: dict[str, object] = {}
        self.take("{")
        self.blanks()
        if self.peek() == "}":
            self.take("}")
            return found
        while True:
            self.blanks()
            key = self.string()
            if key in found:
                raise Refused("repeated key")
            self.blanks()
            self.take(":")
            self.blanks()
            found[key] = self.value(room - 1)
            self.blanks()
            if self.peek() == "}":
                self.take("}")
                return found
            self.take(",")

    def items(self, room: int) -> list[object]:
        if room == 0:
            raise Refused("too deep")
        found: list[object] = []
        self.take("[")
        self.blanks()
        if self.peek() == "]":
            self.take("]")
            return found
        while True:
            self.blanks()
            found.append(self.value(room - 1))
            self.blanks()
            if self.peek() == "]":
                self.take("]")
                return found
            self.take(",")

    def string(self) -> str:
        self.take('"')
        units: list[str] = []
        while self.peek() != '"':
            char = self.peek()
            if not char or char < " ":
                raise Refused("unterminated string or control character")
            self.at += 1
            units.append(self.escape() if char == "\\" else char)
        self.take('"')
        joined = "".join(units).encode("utf-16", "surrogatepass")
        try:
            return joined.decode("utf-16")
        except UnicodeDecodeError as error:
            raise Refused("lone surrogate") from error

    def escape(self) -> str:
        char = self.peek()
        self.at += 1
        if char == "u":
            digits = self.text[self.at : self.at + 4]
            if len(digits) != 4 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
                raise Refused("bad escape")
            self.at += 4
            return chr(int(digits, 16))
        if char not in ESCAPES:
            raise Refused("bad escape")
        return ESCAPES[char]

    def digits(self) -> str:
        start = self.at
        while self.peek() and self.peek() in "0123456789":
            self.at += 1
        if self.at == start:
            raise Refused(f"expected a digit at {start}")
        return self.text[start : self.at]

    def number(self) -> int | float:
        start = self.at
        if self.peek() == "-":
            self.take("-")
        whole = self.digits()
        if len(whole) > 1 and whole[0] == "0":
            raise Refused("leading zero")
        is_float = False
        if self.peek() == ".":
            self.take(".")
            self.digits()
            is_float = True
        if self.peek() in ("e", "E") and self.peek():
            self.at += 1
            if self.peek() in ("+", "-") and self.peek():
                self.at += 1
            self.digits()
            is_float = True
        text = self.text[start : self.at]
        if is_float:
            value = float(text)
            if value in (float("inf"), float("-inf")):
                raise Refused("beyond a double")
            return value
        number = int(text) if len(whole) < 30 else MAX_INTEGER + 1
        if not MIN_INTEGER <= number <= MAX_INTEGER:
            raise Refused("integer out of range")
        return number


def read_slowly(text: str, depth: int = 128) -> object:
    """The value of a text. Raises: Refused."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused("lone surrogate") from error
    return Reader(text, depth).document()
