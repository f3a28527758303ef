"""A request as the loop sends it, and what came of it."""

from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote_plus

from connected_accounts.exceptions import ProviderError, ProviderUnavailable
from connected_accounts.oauth2 import transport
from connected_accounts.oauth2.connections import encode, prepare
from connected_accounts.oauth2.transport import Answer


@dataclass(eq=False, slots=True)
class Exchange:
    """A request, and what came of it. ``outcome`` and ``begun_at`` (``time.monotonic()``) are None
    where its turn did not come before ``begin_before``."""

    origin: str
    data: bytes = field(repr=False)
    public: bool
    begin_before: float
    begun_at: float | None = None
    outcome: Answer | ProviderError | None = None

    @classmethod
    def of(cls, request: Any, *, public: bool, begin_before: float) -> Self:
        """The exchange of a ``requests.Request``. Raises ProviderUnavailable (``bad_request``)."""
        transport.complete(request)
        try:
            made = prepare(request)
            return cls(made.origin, encode(made), public, begin_before)
        except transport.UNSENDABLE:
            pass  # whose error holds the request
        raise ProviderUnavailable("bad_request", sent=False)


@dataclass(frozen=True, eq=False, slots=True)
class Template:
    """Exchanges that differ in one value of their form."""

    origin: str
    public: bool
    head: bytes = field(repr=False)
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)

    @classmethod
    def of(cls, exchange: Exchange, value: str) -> Self | None:
        """The template of an exchange whose form has this value; None where that is not the only
        place of these letters."""
        place = quote_plus(value).encode()
        head, _, body = exchange.data.partition(b"\r\n\r\n")
        head, length, _ = head.rpartition(b"Content-Length: ")
        before, found, after = body.partition(place)
        if not (length and found) or place in after:
            return None
        return cls(exchange.origin, exchange.public, head + length, before, after)

    def filled(self, value: str, *, begin_before: float) -> Exchange:
        """The exchange with another value."""
        body = b"%b%b%b" % (self.before, quote_plus(value).encode(), self.after)
        data = b"%b%d\r\n\r\n%b" % (self.head, len(body), body)
        return Exchange(self.origin, data, self.public, begin_before)
