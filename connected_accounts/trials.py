"""What came of testing a connection, in words."""

from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from connected_accounts.models import ConnectedAccount
from connected_accounts.services.trial import Trial, try_connection


@dataclass(frozen=True)
class Result:
    """``state`` is that of a card; ``text`` says what it means for the person."""

    state: str
    title: str | Promise
    text: str | Promise


RESULTS: Final[dict[Trial, Result]] = {
    Trial.WORKS: Result(
        "connected", _("The connection works"), _("The service answered, and for this account.")
    ),
    Trial.NOTHING_TO_ASK: Result(
        "connected",
        _("Nothing speaks against it"),
        _("The service has nothing to try a connection with. The permission has not run out."),
    ),
    Trial.OTHER_ACCOUNT: Result(
        "needs_you",
        _("The service answered for another account"),
        _("Please connect this account again."),
    ),
    Trial.RECONNECT: Result(
        "needs_you", _("The permission has ended"), _("Please connect this account again.")
    ),
    Trial.REFUSED: Result(
        "needs_you",
        _("The service did not let this site in"),
        _(
            "It knows the connection, but refused this call. If that stays so, connect the account "
            "again."
        ),
    ),
    Trial.UNAVAILABLE: Result(
        "not_answering",
        _("The service is not answering"),
        _("The connection is kept. There is nothing for you to do; it is tried again."),
    ),
    Trial.NOT_UNDERSTOOD: Result(
        "not_answering",
        _("The service gave an answer we do not understand"),
        _("The connection is kept. If it happens again, tell the people who run this site."),
    ),
    Trial.SITE_REFUSED: Result(
        "not_answering",
        _("The service does not accept this site"),
        _("That is for the people who run this site to mend. The connection is kept."),
    ),
    Trial.SITE_FAULT: Result(
        "not_answering",
        _("This site cannot use the connection at the moment"),
        _("That is for the people who run this site to mend. The connection is kept."),
    ),
}


def result_of(account: ConnectedAccount) -> Result:
    """Try the connection, now."""
    return RESULTS[try_connection(account)]
