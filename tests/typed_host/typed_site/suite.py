"""The site's own tests, with the testing kit."""

from collections.abc import Callable
from typing import Any

from connected_accounts.models import ConnectedAccount, Outcome
from connected_accounts.testing import (
    CANARY,
    OMITTED,
    Answer,
    AuthorizationPageError,
    BadGateway,
    BadgrBadgeConnect,
    ConnectionRefused,
    Dialect,
    DropAnswer,
    FakeProvider,
    RecordedRequest,
    Redirect,
    Slow,
    Timeout,
    TooManyRequests,
    UnexpectedRequest,
    connect_account,
)
from connected_accounts.testing.conformance import (
    CONTRACTS,
    ClientCredentialsContract,
    CodeContract,
    Harness,
    NoRevocationCases,
    PersonalTokenContract,
    ProviderContract,
    RevocationCases,
    assert_hidden,
)
from connected_accounts.testing.plugin import connected_account, fake_provider

FIXTURES = (connected_account, fake_provider)
ALL: dict[str, type[ProviderContract]] = CONTRACTS
OTHERS: list[type[Harness]] = [ClientCredentialsContract, PersonalTokenContract, NoRevocationCases]
MISTAKES: tuple[type[AssertionError], ...] = (AuthorizationPageError, UnexpectedRequest)


class MedalsDialect(Dialect):
    def identity_fields(self, grant: Any) -> dict[str, Any]:
        return {"id": grant.subject, "email": grant.label}


class TestMedals(CodeContract, RevocationCases):
    alias = "medals"
    backend = "typed_site.providers.Medals"
    dialect = MedalsDialect
    subject = "4711"
    label = "ada@example.org"
    life = 3600
    outcome_of_unknown = Outcome.REVOKED


def test_badges(
    admin_user: Any,
    fake_provider: Callable[..., FakeProvider],
    connected_account: Callable[..., ConnectedAccount],
) -> None:
    account = connected_account("medals", admin_user)
    fake = fake_provider("medals")
    fake.script("api", Answer(json={"result": []}), Redirect("https://medals.example/"))
    fake.script("token", Timeout(), DropAnswer(), ConnectionRefused(), TooManyRequests(60))
    fake.script("token", BadGateway(), TooManyRequests(), Slow(30))
    fake.advance(hours=2)
    sent: list[RecordedRequest] = fake.sent_to("token")
    assert_hidden(account, fake)
    assert all(request.bearer.startswith(CANARY) for request in sent)


def test_without_pytest(user: Any) -> None:
    with FakeProvider("medals", expires_in=OMITTED, dialect=BadgrBadgeConnect) as fake:
        assert connect_account(fake, user).provider == "medals"
