"""Wrong values for every kind of field.

REFUSED values break the contract wherever they stand. SUSPECT values may or may not be acceptable where they stand:
the server decides, but it must say so properly.
"""

from __future__ import annotations

from typing import Any, Final

REFUSED: Final = True
SUSPECT: Final = False

Wrong = tuple[str, Any, bool]
"""How it is wrong, the value, and whether it must be refused."""

DEEP: Final = 10_000
FIVE_MIB: Final = 5 * 1024 * 1024

BAD_JSON: Final[tuple[Wrong, ...]] = (
    ("not JSON", "{", REFUSED),
    ("trailing text", "{} x", REFUSED),
    ("single quotes", "{'a':1}", REFUSED),
    ("NaN", '{"a":NaN}', REFUSED),
    ("Infinity", '{"a":-Infinity}', REFUSED),
    ("a double that overflows", '{"a":1e999}', REFUSED),
    ("a key twice", '{"a":1,"a":2}', REFUSED),
    ("a key twice, one escaped", '{"a":1,"\\u0061":2}', REFUSED),
    ("depth 10,000", '{"a":' + "[" * DEEP + "]" * DEEP + "}", REFUSED),
    ("depth 129", '{"a":' + "[" * 128 + "]" * 128 + "}", REFUSED),
    ("5 MiB", '{"a":"' + "x" * FIVE_MIB + '"}', REFUSED),
    ("an integer above 2^64-1", '{"a":18446744073709551616}', REFUSED),
    ("an integer below -2^63", '{"a":-9223372036854775809}', REFUSED),
    ("an integer of 5,000 digits", '{"a":' + "9" * 5_000 + "}", REFUSED),
    ("a lone surrogate", '{"a":"\\ud800"}', REFUSED),
    ("a lone low surrogate as key", '{"\\udc00":1}', REFUSED),
    ("a control character", '{"a":"\n"}', REFUSED),
    ("a byte order mark", "\ufeff{}", REFUSED),
    ("another type", "[1]", SUSPECT),
    ("null", "null", SUSPECT),
    ("empty", "", SUSPECT),
)

BAD_TEXT: Final[tuple[Wrong, ...]] = (
    ("empty", "", SUSPECT),
    ("1 MiB", "x" * 1024 * 1024, REFUSED),
    ("an unknown name", "no-such-thing", SUSPECT),
    ("spaces and slashes", " ../é\u2028\t", SUSPECT),
    ("U+0000", "a\0b", SUSPECT),
    ("a star", "*", SUSPECT),
)

BAD_BYTES: Final[tuple[Wrong, ...]] = (
    ("empty", b"", SUSPECT),
    ("one byte", b"\x01", SUSPECT),
    ("text", b"not a token", SUSPECT),
    ("100 kB", b"\xff" * 100_000, SUSPECT),
)

BAD_INT32: Final[tuple[Wrong, ...]] = (
    ("zero", 0, SUSPECT),
    ("minus one", -1, SUSPECT),
    ("the largest", 2**31 - 1, SUSPECT),
    ("the smallest", -(2**31), SUSPECT),
)

BAD_INT64: Final[tuple[Wrong, ...]] = (
    ("zero", 0, SUSPECT),
    ("minus one", -1, REFUSED),
    ("the largest", 2**63 - 1, SUSPECT),
    ("the smallest", -(2**63), REFUSED),
)

BAD_DOUBLE: Final[tuple[Wrong, ...]] = (
    ("zero", 0.0, SUSPECT),
    ("NaN", float("nan"), REFUSED),
    ("infinity", float("inf"), REFUSED),
    ("below one", 0.5, REFUSED),
    ("minus one", -1.0, REFUSED),
    ("the largest", 1.7e308, SUSPECT),
)

BAD_ENUM: Final[tuple[Wrong, ...]] = (
    ("unspecified", 0, SUSPECT),
    ("unknown", 9_999, REFUSED),
    ("negative", -1, REFUSED),
)

BAD_INSTANT: Final[tuple[Wrong, ...]] = (
    ("after year 9999", (10**12, 0), REFUSED),
    ("before year 1", (-(10**12), 0), REFUSED),
    ("the last int64", (2**63 - 1, 999_999_999), REFUSED),
    ("negative nanos", (1_800_000_000, -1), REFUSED),
    ("a whole second of nanos", (1_800_000_000, 10**9), REFUSED),
    ("the epoch", (0, 0), SUSPECT),
    ("1969", (-1, 0), SUSPECT),
)

BAD_SPAN: Final[tuple[Wrong, ...]] = (
    ("30,000 years", (10**12, 0), REFUSED),
    ("the last int64", (2**63 - 1, 999_999_999), REFUSED),
    ("negative", (-1, 0), REFUSED),
    ("negative nanos", (0, -1), REFUSED),
    ("two signs", (1, -1), REFUSED),
    ("a whole second of nanos", (0, 10**9), REFUSED),
    ("zero", (0, 0), SUSPECT),
)
