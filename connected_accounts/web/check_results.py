"""The results of testing a connection, in words."""

from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from connected_accounts.models import ConnectedAccount
from connected_accounts.use.connection_check import CheckOutcome, check_connection


@dataclass(frozen=True)
class CheckResult:
    """``state`` is that of a card; ``text`` says what it means for the person."""

    state: str
    title: str | Promise
    text: str | Promise


RESULTS: Final[dict[CheckOutcome, CheckResult]] = {
    CheckOutcome.WORKS: CheckResult(
        "connected", _("The connection works"), _("The service accepted this connection.")
    ),
    CheckOutcome.NOTHING_TO_ASK: CheckResult(
        "connected",
        _("No problem found"),
        _("This service offers no way to test a connection. The permission has not expired."),
    ),
    CheckOutcome.OTHER_ACCOUNT: CheckResult(
        "needs_you",
        _("The service answered for another account"),
        _("Please reconnect this account."),
    ),
    CheckOutcome.RECONNECT: CheckResult(
        "needs_you", _("The permission has ended"), _("Please reconnect this account.")
    ),
    CheckOutcome.REFUSED: CheckResult(
        "needs_you",
        _("The service refused this connection"),
        _("It refused the request. If this keeps happening, please reconnect the account."),
    ),
    CheckOutcome.UNAVAILABLE: CheckResult(
        "not_answering",
        _("The service is not answering"),
        _("The connection is kept. There is nothing for you to do; it is tried again."),
    ),
    CheckOutcome.NOT_UNDERSTOOD: CheckResult(
        "not_answering",
        _("We could not understand the service’s answer"),
        _("The connection is kept. If it happens again, tell the people who run this site."),
    ),
    CheckOutcome.SITE_REFUSED: CheckResult(
        "not_answering",
        _("The service does not accept this site"),
        _("The people who run this site need to fix this. The connection is kept."),
    ),
    CheckOutcome.SITE_FAULT: CheckResult(
        "not_answering",
        _("This site cannot use the connection at the moment"),
        _("The people who run this site need to fix this. The connection is kept."),
    ),
}


def test_and_explain(account: ConnectedAccount) -> CheckResult:
    """Try the connection, now."""
    return RESULTS[check_connection(account)]
