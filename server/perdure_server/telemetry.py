"""The process's log: one line an event, text or JSON, with run_id and namespace where they are known."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

_FIELDS = ("namespace", "run_id", "worker_id", "error_id", "method", "count")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, message, the known fields, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a log record."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in _FIELDS if hasattr(record, name)})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """Time, level, logger and message, then the known fields as name=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The line of a log record."""
        known = [f"{name}={getattr(record, name)}" for name in _FIELDS if hasattr(record, name)]
        text = super().format(record)
        head, newline, rest = text.partition("\n")
        return f"{head} [{' '.join(known)}]{newline}{rest}" if known else text


def set_up_logging(form: Literal["text", "json"], level: str) -> None:
    """Sends the log to standard error. Called once, before any channel or server exists."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)
