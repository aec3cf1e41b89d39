"""The log on standard error: one JSON object, or one line of text, an event.

What a request brings never gets in: no address, query, file name, header or content.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

# Loggers whose lines leave through our handler.
OURS = ("inswapper", "uvicorn")


class JsonFormatter(logging.Formatter):
    """time (UTC), level, logger, message, the fields of the event, and an exception's traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """The same for people: time, level, message, then key=value."""

    def format(self, record: logging.LogRecord) -> str:
        fields = [f"{key}={value}" for key, value in _fields_of(record).items()]
        line = " ".join([_time_of(record), record.levelname, record.getMessage(), *fields])
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class StderrHandler(logging.Handler):
    """Writes to what sys.stderr is at that moment, so that no handler outlives its stream."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # a log that cannot be written must not fail a request
            self.handleError(record)


def set_up_logs(log_format: Literal["json", "text"]) -> None:
    """Give our loggers and the libraries' one format, and leave uvicorn's access log out."""
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    for name in OURS:
        logging.getLogger(name).handlers = [handler]
    logging.getLogger("inswapper").setLevel(logging.INFO)
    # It would name the client's address and the query; serve.web.access writes a request's line.
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False


def event(logger: logging.Logger, level: int, message: str, **fields: Any) -> None:
    """Log a message with fields."""
    logger.log(level, message, extra={"fields": fields})


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", {})
    return fields if isinstance(fields, dict) else {}


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
