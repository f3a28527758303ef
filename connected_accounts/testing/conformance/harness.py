"""The ground of every contract case: a configured site, the fake, recorded answers, leak scans.

A recording is a JSON file ``recordings/<alias>/<name>.json`` beside the module of the class, or
in the folder that its ``recordings`` names. ``source`` says where the answer was seen or read, and
when; ``status``, ``headers``, and ``json`` or ``body`` are the answer. A value ``<ms in 60>``
stands for the moment a minute ahead in milliseconds since 1970, ``<ms text in 60>`` for the same as
a text. Every secret in it begins with the canary.
"""

import base64
import inspect
import json
import logging
import re
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from pprint import pformat
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connected_accounts.connect.direct import connect_directly
from connected_accounts.exceptions import ConnectedAccountsError
from connected_accounts.models import ConnectedAccount, Status
from connected_accounts.oauth2.state import new_secret
from connected_accounts.providers.base import Provider
from connected_accounts.providers.registry import get_provider
from connected_accounts.services import complete_authorization, refresh, start_authorization
from connected_accounts.testing import CANARY, Answer, Dialect, FakeProvider
from connected_accounts.testing.conformance.whole import refuse_lost_cases

CLIENT_ID = "the-client"
CLIENT_SECRET = f"{CANARY}client-secret"
# A person's own, where they are asked for.
OWN_CLIENT_ID = "adas-client"
OWN_CLIENT_SECRET = f"{CANARY}own-client-secret"
PERSONAL_TOKEN = f"{CANARY}personal-token"
REDIRECT_URI = "https://site.example/connections/callback/"
# A secret can be read through these too.
ENCODED = [
    base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode().rstrip("="),
    base64.b64encode(CLIENT_SECRET.encode()).decode().rstrip("="),
    base64.b64encode(f"{OWN_CLIENT_ID}:{OWN_CLIENT_SECRET}".encode()).decode().rstrip("="),
    base64.b64encode(quote(CLIENT_SECRET).encode()).decode().rstrip("="),
]
_MOMENT = re.compile(r"<ms (text )?in (\d+)>")


def read_recording(file: Path, **changes: Any) -> Answer:
    """The recorded answer, with moments counted from now; ``changes`` replace fields of its JSON,
    and one that is ``...`` is left out."""
    document = json.loads(file.read_text(encoding="utf-8"))
    content = document.get("json")
    if content is not None:
        content = {k: _moment(v) for k, v in {**content, **changes}.items() if v is not ...}
    return Answer(document["status"], content, document.get("body"), document["headers"])


def _moment(value: Any) -> Any:
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    milliseconds = int((time.time() + int(found[2])) * 1000)
    return str(milliseconds) if found[1] else milliseconds


def leaks_in(text: str) -> list[str]:
    """The secrets of a contract case that can be read in ``text``."""
    return [secret for secret in (CANARY, *ENCODED) if secret in text]


def texts_of_error(error: BaseException) -> Iterator[str]:
    """Everything that logs and error trackers show of an exception and of those behind it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        yield from (str(one), repr(one), repr(one.args), repr(vars(one)))
        yield "".join(traceback.format_exception(one))


def texts_of_record(record: logging.LogRecord) -> Iterator[str]:
    yield from (record.getMessage(), repr(vars(record)))
    if record.exc_info and record.exc_info[1]:
        yield from texts_of_error(record.exc_info[1])


def assert_hidden(*things: object) -> None:
    """No way to print any of ``things`` shows a secret."""
    for thing in things:
        if isinstance(thing, BaseException):
            shown = list(texts_of_error(thing))
        else:
            shown = [str(thing), repr(thing), f"{thing}", pformat(thing), json.dumps(str(thing))]
        for text in shown:
            assert not leaks_in(text), f"a secret shows in {type(thing).__name__}"


def _loggers() -> list[logging.Logger]:
    known = logging.root.manager.loggerDict.values()
    return [logger for logger in known if isinstance(logger, logging.Logger)]


@pytest.mark.django_db
class Harness:
    """One alias, configured with secrets that begin with the canary, and watched for leaks."""

    _cases: ClassVar[dict[str, Any]] = {}  # of the kit, as they were written
    alias: ClassVar[str]
    backend: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    scopes: ClassVar[list[str] | None] = None
    inputs: ClassVar[dict[str, str]] = {}  # what is entered into connect_fields
    dialect: ClassVar[type[Dialect] | None] = None  # how the fake speaks; None: as the backend's
    # What the recordings say: whose the account is, and the life of the recorded success.
    subject: ClassVar[str]
    label: ClassVar[str]
    life: ClassVar[int] = 86400
    # The recordings that the cases of a class ask for.
    needs: ClassVar[frozenset[str]] = frozenset()
    # Where the recordings are; None: in recordings/<alias>/ beside the module of the class.
    recordings: ClassVar[Path | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith(f"{__package__}."):
            cls._cases = {n: case for n, case in vars(cls).items() if n.startswith("test_")}
        else:
            refuse_lost_cases(cls)

    @pytest.fixture(autouse=True)
    def _configured(self, settings: Any) -> None:
        self.settings = settings
        self.configure()

    @pytest.fixture(autouse=True)
    def _watched(
        self, db: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[None]:
        """Read every line that is logged during the case, at any level, the SQL included."""
        caplog.set_level(1)
        for logger in _loggers():
            caplog.set_level(1, logger=logger.name)
            monkeypatch.setattr(logger, "propagate", True)
            monkeypatch.setattr(logger, "disabled", False)
        with CaptureQueriesContext(connection):
            yield
        for record in [*caplog.get_records("setup"), *caplog.get_records("call")]:
            assert not any(map(leaks_in, texts_of_record(record))), f"{record.name} logs a secret"

    @pytest.fixture
    def fake(self, fake_provider: Callable[..., FakeProvider]) -> FakeProvider:
        fake = fake_provider(self.alias, inputs=self.inputs, dialect=self.dialect)
        fake.add_client(OWN_CLIENT_ID, OWN_CLIENT_SECRET)
        return fake

    @pytest.fixture
    def user(self, django_user_model: Any) -> Any:
        return django_user_model.objects.create_user("ada")

    @pytest.fixture
    def account(self, user: Any, fake: FakeProvider) -> ConnectedAccount:
        """An account that was connected with the recorded success; the fake's notes are empty."""
        account = self.connect(user, fake)
        fake.requests.clear()
        return account

    def configure(self, *, options: dict[str, Any] | None = None, **entry: Any) -> None:
        """Put the provider into settings. Made anew each time: settings are read when used."""
        provider = {
            "BACKEND": self.backend,
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
            "OPTIONS": {**self.options, **(options or {})},
            **({} if self.scopes is None else {"SCOPES": self.scopes}),
            **entry,
        }
        self.settings.CONNECTED_ACCOUNTS = {"PROVIDERS": {self.alias: provider}}

    def recorded(self, name: str, **changes: Any) -> Answer:
        beside = Path(inspect.getfile(type(self))).with_name("recordings") / self.alias
        return read_recording((self.recordings or beside) / f"{name}.json", **changes)

    @property
    def provider(self) -> Provider:
        return get_provider(self.alias).bound(inputs=self.inputs)

    @property
    def identity_is_in_the_token_answer(self) -> bool:
        return get_provider(self.alias).identity_source == "token_response"

    def begin(
        self, user: Any, fake: FakeProvider, *, error: str = ""
    ) -> Callable[[], ConnectedAccount]:
        """Start, and agree or enter what is asked for; what is returned finishes the connection.
        ``error`` comes back from the provider instead of a code."""
        if self.provider.grant_type != "authorization_code":
            return lambda: self.connect_directly(user)
        browser_secret = new_secret()
        url = start_authorization(
            user=user,
            provider=self.alias,
            redirect_uri=REDIRECT_URI,
            browser_secret=browser_secret,
            inputs=self.inputs,
        )
        params = fake.authorize(url, deny=bool(error))
        params |= {"error": error} if error else {}
        return lambda: (
            complete_authorization(
                user=user, provider=self.alias, browser_secret=browser_secret, params=params
            ).account
        )

    def connect_directly(
        self, user: Any, *, account: ConnectedAccount | None = None, **entered: str
    ) -> ConnectedAccount:
        """Connect with what is entered; without ``user``, the site itself."""
        known = {
            "client_id": OWN_CLIENT_ID,
            "client_secret": OWN_CLIENT_SECRET,
            "personal_token": PERSONAL_TOKEN,
            **self.inputs,
            **entered,
        }
        asked = get_provider(self.alias).asked_fields(for_site=user is None)
        values = {field.name: known[field.name] for field in asked}
        return connect_directly(user=user, provider=self.alias, values=values, account=account)[0]

    def connect(
        self, user: Any, fake: FakeProvider, token: str = "token_success", **changes: Any
    ) -> ConnectedAccount:
        """The whole way, with a recorded token answer and the recorded identity."""
        finish = self.begin(user, fake)
        if self.provider.grant_type != "personal_token":
            fake.script("token", self.recorded(token, **changes))
        if not self.identity_is_in_the_token_answer:
            fake.script("identity", self.recorded("identity"))
        return self.stored(finish())

    def stored(self, account: ConnectedAccount) -> ConnectedAccount:
        """The row as it is now, with its sealed token."""
        row: ConnectedAccount = ConnectedAccount.objects.with_token().get(pk=account.pk)
        return row

    def raised_by(self, call: Callable[[], Any]) -> ConnectedAccountsError:
        """The app's own error that ``call`` ends with, after a look at all it would show."""
        with pytest.raises(ConnectedAccountsError) as caught:
            call()
        assert_hidden(caught.value)
        return caught.value

    def refused_refresh(
        self, account: ConnectedAccount, fake: FakeProvider, *script: Any
    ) -> ConnectedAccountsError:
        """Refresh against ``script``; it must fail, and leave the stored token alone."""
        before = self.stored(account).open_token()
        fake.script("token", *script)
        error = self.raised_by(lambda: refresh(account))
        assert self.stored(account).open_token() == before
        return error

    def assert_is_tried_again(
        self, account: ConnectedAccount, *, may_be_spent: bool, failures: int = 1
    ) -> None:
        """The account waits for a next attempt; ``may_be_spent``: the answer is unknown."""
        row = self.stored(account)
        assert (row.status, row.reason, row.failure_count) == (Status.ACTIVE, "", failures)
        assert row.refresh_at is not None
        assert row.refresh_at > timezone.now()
        assert row.lease_until is None
        assert (row.attempt_started_at is not None) is may_be_spent
