"""Arguments that several commands share."""

from argparse import ArgumentTypeError
from datetime import datetime

from django.conf import settings
from django.utils import timezone
from django.utils.dateparse import parse_datetime


def moment(text: str) -> datetime:
    """An ISO date, or date and time; without an offset in the site's time zone."""
    found = parse_datetime(text if "T" in text or " " in text else f"{text}T00:00:00")
    if found is None:
        raise ValueError(text)
    if timezone.is_aware(found) == settings.USE_TZ:
        return found
    return timezone.make_aware(found) if settings.USE_TZ else timezone.make_naive(found)


def pair(text: str) -> tuple[str, str]:
    """``name=value``, neither of them empty."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise ArgumentTypeError("write it as name=value")
    return name, value
