"""Looking into a provider's document by a dotted path."""

from collections.abc import Mapping
from typing import Any


def value_at(document: Any, path: str) -> Any:
    """The value at a dotted path such as ``data.0.id``; None where there is no plain value."""
    for step in path.split("."):
        if isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        elif isinstance(document, Mapping):
            document = document.get(step)
        else:
            return None
    return None if isinstance(document, bool | list | Mapping) else document
