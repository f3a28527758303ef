"""The findings of a diagnosis: one line each, and no secret in any."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Finding:
    """``check`` is what was looked at; ``hint`` what to do about it, where there is something."""

    check: str
    level: Level
    message: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        return {
            "check": self.check,
            "level": self.level.value,
            "message": self.message,
            "hint": self.hint,
        }


def ok(check: str, message: str, hint: str = "") -> Finding:
    return Finding(check, Level.OK, message, hint)


def warning(check: str, message: str, hint: str = "") -> Finding:
    return Finding(check, Level.WARNING, message, hint)


def error(check: str, message: str, hint: str = "") -> Finding:
    return Finding(check, Level.ERROR, message, hint)


def unchecked(check: str, message: str, hint: str = "") -> Finding:
    return Finding(check, Level.UNCHECKED, message, hint)
