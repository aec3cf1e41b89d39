"""Log on standard error: one JSON object, or one line of text, per event.

No content of a request is logged: no address, query, file name, header or body.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

# Loggers that use the handler of this module.
LOGGERS = ("inswapper", "uvicorn")


class JsonFormatter(logging.Formatter):
    """Time (UTC), level, logger, message, fields and traceback of an event as a JSON object."""

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
    """The same as text: time, level, message, fields as key=value, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        fields = [f"{key}={value}" for key, value in _fields_of(record).items()]
        line = " ".join([_time_of(record), record.levelname, record.getMessage(), *fields])
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class StderrHandler(logging.Handler):
    """Writes to the current sys.stderr, so that no handler keeps a closed stream."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # a log that cannot be written must not fail a request
            self.handleError(record)


def set_up_logs(log_format: Literal["json", "text"]) -> None:
    """Use one format for the service's and uvicorn's logs, and disable uvicorn's access log."""
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    for name in LOGGERS:
        logging.getLogger(name).handlers = [handler]
    logging.getLogger("inswapper").setLevel(logging.INFO)
    # It contains the client's address and the query; serve.web.access logs requests instead.
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
