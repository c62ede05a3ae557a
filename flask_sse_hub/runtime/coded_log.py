"""Log lines with codes, by which an operator finds their meaning and cure.

The code of a line never changes, and no other line has it. The texts may become
clearer with each release, so programs that search a log search it for codes.
"""

import json
import logging
import time
from types import TracebackType
from typing import Any

#: Values of ``exc_info``, as in the module logging.
_ErrorInfo = (
    bool
    | BaseException
    | tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
    | None
)


class CodedLog:
    """A logger whose warnings and errors have codes.

    The code stands at the end of the line, and is the attribute ``sse_code`` of its
    record. The attribute ``sse_count`` is the number of occurrences that the line
    stands for.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, text: str, *args: object) -> None:
        """Log a detail, which needs no code."""
        self._logger.debug(text, *args, stacklevel=2)

    def info(self, text: str, *args: object) -> None:
        """Log a usual thing, which needs no code."""
        self._logger.info(text, *args, stacklevel=2)

    def logs_info(self) -> bool:
        """Tell whether lines of the level info are logged at all."""
        return self._logger.isEnabledFor(logging.INFO)

    def warning(self, code: str, text: str, *args: object) -> None:
        """Log that something is degraded."""
        self.say(logging.WARNING, code, text, *args, stacklevel=3)

    def error(
        self, code: str, text: str, *args: object, exc_info: _ErrorInfo = None
    ) -> None:
        """Log that something is broken."""
        self.say(logging.ERROR, code, text, *args, exc_info=exc_info, stacklevel=3)

    def exception(self, code: str, text: str, *args: object) -> None:
        """Log that something is broken, with the error that is being handled."""
        self.say(logging.ERROR, code, text, *args, exc_info=True, stacklevel=3)

    def say(
        self,
        level: int,
        code: str,
        text: str,
        *args: object,
        exc_info: _ErrorInfo = None,
        count: int = 1,
        stacklevel: int = 2,
    ) -> None:
        """Log a warning or an error that stands for ``count`` occurrences."""
        if count > 1:
            text = f"{text} ({count - 1} more since the last such line)"
        line = f"{text} [{code}]"
        self._logger.log(
            level,
            line,
            *args,
            exc_info=exc_info,
            extra={"sse_code": code, "sse_count": count},
            stacklevel=stacklevel,
        )


class JsonFormatter(logging.Formatter):
    """Format each record as one line of JSON, for programs that collect logs.

    Each line has ``time`` (UTC, ISO 8601), ``level``, ``logger`` and ``text``. Warnings
    and errors of this package also have ``code``, such as ``SSE-1204``, and ``count``:
    the number of occurrences that the line stands for. A line about an error has its
    traceback as ``error``. Records of other packages are formatted as well. For
    example::

        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        app.logger.addHandler(handler)
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without a line break."""
        when = time.gmtime(record.created)
        line: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', when)}"
            f".{int(record.created % 1 * 1000):03}Z",
            "level": record.levelname,
            "logger": record.name,
        }
        code = getattr(record, "sse_code", None)
        text = record.getMessage()
        if code is not None:
            line["code"] = code
            line["count"] = getattr(record, "sse_count", 1)
            text = text.removesuffix(f" [{code}]")
        line["text"] = text
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)
