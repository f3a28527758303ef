"""Everything that was written anywhere, by name, and a search in it for secrets in any form."""

import base64
import logging
import pickle
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote, quote_plus

import django
import sentry_sdk
from celery.signals import before_task_publish
from django.db import connection
from django.test import RequestFactory
from django.utils.log import AdminEmailHandler
from sentry_sdk.integrations.django import DjangoRequestExtractor
from sentry_sdk.scrubber import EventScrubber
from sentry_sdk.transport import Transport

from connected_accounts.testing import CANARY

# Values that carry the canary are found by it, in each of these forms.
ADDRESS = "admin@site.example"
# Pairs were all that Django took before 6.0, and are no longer liked by 6.1.
ADMINS: list[Any] = [ADDRESS] if django.VERSION >= (6, 0) else [("Admin", ADDRESS)]
PREFIX = 12


def forms(secret: str) -> set[str]:
    """How a text may stand somewhere: as it is, cut after 12 characters, URL-encoded, in hex, and
    in base64 at each of its three alignments."""
    raw = secret.encode()
    found = {secret, quote(secret, safe=""), quote_plus(secret), raw.hex(), raw.hex().upper()}
    for lead in range(3):
        text = base64.b64encode(b"x" * lead + raw).decode()
        # Only those characters that do not depend on the neighbours.
        inner = text[-(-4 * lead // 3) : 4 * (lead + len(raw)) // 3]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    if len(secret) > PREFIX:
        found |= {secret[:PREFIX], secret[:PREFIX].encode().hex()}
    return {form for form in found if len(form) > 5}


class Sinks:
    """What was written, by sink."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}

    def add(self, sink: str, *texts: Any) -> None:
        self.texts.setdefault(sink, []).extend(
            text.decode("latin-1") if isinstance(text, bytes) else str(text) for text in texts
        )

    def hits(self, secrets: Iterable[str]) -> list[str]:
        """``sink: needle`` for whatever was found; the needle is cut."""
        needles = forms(CANARY).union(*(forms(secret) for secret in secrets))
        found = set()
        for sink, texts in self.texts.items():
            whole = "\0".join(texts)
            found |= {f"{sink}: {needle[:12]}" for needle in needles if needle in whole}
        return sorted(found)

    def report(self, flows: int, secrets: Iterable[str]) -> str:
        lines = [
            f"  {sink:28} {len(texts):6} texts {sum(map(len, texts)):10} characters"
            for sink, texts in sorted(self.texts.items())
        ]
        hits = self.hits(secrets)
        total = f"{len(self.texts)} sinks, {flows} flows, {len(hits)} hits"
        return "\n".join(["", *lines, total])


class Everything(logging.Handler):
    """Keeps each record as text, with its arguments and its whole traceback."""

    def __init__(self, sinks: Sinks) -> None:
        super().__init__(level=1)
        self.sinks = sinks

    def emit(self, record: logging.LogRecord) -> None:
        parts = {k: v for k, v in vars(record).items() if k != "exc_info"}
        self.sinks.add("logs", record.getMessage(), parts)
        if record.exc_info:
            self.sinks.add("logs", *traceback.format_exception(*record.exc_info))


@contextmanager
def all_logs(sinks: Sinks) -> Iterator[None]:
    """Every logger at level 1, those of requests, urllib3 and oauthlib too."""
    import oauthlib  # noqa: F401
    import requests_oauthlib  # noqa: F401
    import urllib3  # noqa: F401

    handler, root = Everything(sinks), logging.getLogger()
    # Django's templates log their whole context for each variable that is not there: that of an
    # error page would be the error page, a hundred times.
    names = {"", *logging.Logger.manager.loggerDict}
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).disabled)
              for name in names}  # fmt: skip
    for name in names:
        logging.getLogger(name).setLevel(20 if name == "django.template" else 1)
        logging.getLogger(name).disabled = False
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for name, (level, disabled) in before.items():
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).disabled = disabled


@contextmanager
def all_messages(sinks: Sinks) -> Iterator[None]:
    """Every Celery message: its body, and the headers that events and Flower show."""

    def note(sender: Any = None, body: Any = None, headers: Any = None, **kwargs: Any) -> None:
        sinks.add("Celery messages", sender, body, headers)

    before_task_publish.connect(note, weak=False)
    try:
        yield
    finally:
        before_task_publish.disconnect(note)


class Kept(Transport):
    """Sentry's transport, into a list."""

    def __init__(self, sinks: Sinks) -> None:
        super().__init__({})
        self.sinks = sinks

    def capture_envelope(self, envelope: Any) -> None:
        self.sinks.add("Sentry", envelope.serialize())


@contextmanager
def sentry(sinks: Sinks) -> Iterator[None]:
    """Sentry as a site has it: local variables, breadcrumbs and personal data on, no denylist."""
    sentry_sdk.init(
        dsn="https://key@sentry.invalid/1",
        transport=Kept(sinks),
        include_local_variables=True,
        max_request_body_size="always",
        event_scrubber=EventScrubber(denylist=[], pii_denylist=[]),
        shutdown_timeout=0,
        # None that patches other modules: the request is read below, as its integration does.
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    try:
        yield
    finally:
        sentry_sdk.flush(2)
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.get_global_scope().set_client(None)


def note_error(sinks: Sinks, error: BaseException, request: Any = None) -> None:
    """An exception as loggers, error pages, mails and trackers see it, with what led to it."""
    seen: BaseException | None = error
    while seen is not None:
        shown = traceback.TracebackException.from_exception(seen, capture_locals=True)
        sinks.add("exceptions, locals too", repr(seen), seen.args, vars(seen), *shown.format())
        with suppress(TypeError, AttributeError, pickle.PicklingError):
            sinks.add("exceptions, pickled", pickle.dumps(seen))
        seen = seen.__cause__ or seen.__context__
    request = request or RequestFactory().get("/")
    record = logging.LogRecord("django.request", 40, "x", 1, "failed", (), None)
    record.exc_info = (type(error), error, error.__traceback__)
    record.request = request
    # One mail has both of Django's error pages, the plain one and that of DEBUG.
    AdminEmailHandler(include_html=True).emit(record)
    event: dict[str, Any] = {}
    DjangoRequestExtractor(request).extract_into_event(event)
    sinks.add("Sentry", event)
    sentry_sdk.capture_exception(error)


def note_answer(sinks: Sinks, response: Any, sink: str = "pages") -> None:
    sinks.add(sink, response.content, dict(response.headers))
    sinks.add("cookies", *(f"{key}={morsel.value}" for key, morsel in response.cookies.items()))


def note_database(sinks: Sinks) -> None:
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            sinks.add("database", *cursor.fetchall())
