"""The output of commands, in which addresses and names that a provider wrote may stand."""

from typing import Any

from django.core.management.base import BaseCommand, OutputWrapper

from connected_accounts.security import visible


class PlainOutput(OutputWrapper):
    """Writes out what a terminal would obey. A style is given to ``write``, not put into words."""

    def write(  # type: ignore[override]  # the stubs do not know that it takes any object
        self, msg: Any = "", style_func: Any = None, ending: Any = None
    ) -> None:
        super().write(visible(str(msg)), style_func, ending)


class PlainCommand(BaseCommand):
    """The base of the app's commands, whichever output they are given."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("stdout", "stderr") and not isinstance(value, PlainOutput):
            value = PlainOutput(value._out, value.ending)
        super().__setattr__(name, value)
