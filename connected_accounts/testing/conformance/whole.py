"""A suite that is whole: no case of the kit is deleted, replaced or skipped."""

from typing import Any, Final

SKIPS: Final = {"skip", "skipif", "xfail"}


def refuse_lost_cases(suite: type) -> None:
    """Raise TypeError where ``suite`` would run fewer or other cases than its contract has."""
    if not getattr(suite, "__test__", True) or _skips(suite):
        raise TypeError(f"{suite.__name__} would skip the cases of its contract.")
    for kind in suite.__mro__:
        for name, case in vars(kind).get("_cases", {}).items():
            if getattr(suite, name, None) is not case or _skips(case):
                raise TypeError(f"{suite.__name__}.{name} is not the case of the contract.")


def _skips(thing: Any) -> bool:
    marks = getattr(thing, "pytestmark", [])
    given = marks if isinstance(marks, list | tuple) else [marks]
    return any(mark.name in SKIPS for mark in given)
