"""The page that a person goes on to, as far as it can be judged without their request."""

from typing import Final
from urllib.parse import urlsplit

from django.utils.http import url_has_allowed_host_and_scheme

MAX_NEXT: Final = 2000


def web_address(url: str) -> str:
    """``url`` where it is a path or an http address, else an empty text: never script."""
    if not url or len(url) > MAX_NEXT or not url.isprintable() or "\\" in url:
        return ""
    try:
        named = {urlsplit(url).netloc}
    except ValueError:
        return ""
    return url if url_has_allowed_host_and_scheme(url, named) else ""
