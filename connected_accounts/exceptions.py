"""The errors of the app, named by what to do next.

Each carries a short machine-readable ``code`` and a sentence of our own. None ever carries a
token, a secret or a provider's text: those end in logs, mails and error trackers.
"""

from typing import NamedTuple

__all__ = [
    "AuthorizationDenied",
    "ClientRejected",
    "ConfigurationError",
    "ConnectedAccountsError",
    "InsufficientScope",
    "InvalidState",
    "ProviderError",
    "ProviderUnavailable",
    "ReauthorizationRequired",
    "Undecryptable",
    "UnexpectedResponse",
]


class WayOn(NamedTuple):
    """The purpose of a failed authorization, so that a page can offer to begin again.

    ``next`` is where the person was going, ``scopes`` what was asked for, ``reconnect`` the key of
    the account to be connected again. ``owner`` is the key of the owner it was for, unless that is
    the person or the site. ``only_these_scopes``: no optional scope besides those in ``scopes``.
    """

    next: str = ""
    scopes: tuple[str, ...] = ()
    only_these_scopes: bool = True
    reconnect: int | None = None
    for_site: bool = False
    owner: str = ""


class ConnectedAccountsError(Exception):
    """Something went wrong with a connected account."""

    way_on: WayOn | None = None  # set where an authorization failed after its request was found
    reference: str = ""  # by which the Event and the log line of a failed connect are found

    def __init__(self, code: str = "", message: str = "") -> None:
        code = str(code)  # a member of an enumeration would print its name
        self.code = code
        self.message = message or " ".join((type(self).__doc__ or "").split("\n\n")[0].split())
        super().__init__(code, message)

    def __str__(self) -> str:
        return f"{self.message} ({self.code})" if self.code else self.message


class ConfigurationError(ConnectedAccountsError):
    """The site's settings for connected accounts are wrong; a developer must change them."""


class AuthorizationDenied(ConnectedAccountsError):
    """The authorization ended without a connection.

    ``code`` is ``access_denied`` (the person said no), ``other_account`` (a reconnect came back as
    another account of the provider), ``account_in_use`` (the provider account belongs to another
    user of the site, and the provider is EXCLUSIVE) or ``too_many_accounts`` (the owner has
    MAX_ACCOUNTS of the provider).
    """


class InsufficientScope(ConnectedAccountsError):
    """The service wants more permissions for this call than the account was given.

    ``scopes`` are all to ask for: those that were asked for before, and those that the service
    names now (RFC 6750 3.1). ``account_id`` is the key of the account.
    """

    def __init__(
        self,
        code: str = "",
        message: str = "",
        *,
        scopes: tuple[str, ...] = (),
        account_id: int | None = None,
    ) -> None:
        super().__init__(code, message)
        self.scopes = scopes
        self.account_id = account_id


class InvalidState(ConnectedAccountsError):
    """The answer from the provider does not belong to an authorization that is open here.

    ``code`` is one of ``malformed``, ``unknown``, ``expired``, ``replayed``, ``other_user``,
    ``other_browser``, ``other_provider``, ``wrong_issuer``, ``settings_changed``, ``code_missing``,
    ``code_rejected``, ``not_permitted``.
    """


class ReauthorizationRequired(ConnectedAccountsError):
    """The person must connect this account again.

    ``code`` is the account's ``reason``; ``disconnected`` when the account is gone;
    ``no_refresh_token`` when there is nothing to refresh with, and the access token is still good.
    """


class Undecryptable(ConnectedAccountsError):
    """A sealed value cannot be opened here: its key is missing, or it belongs to another row."""


class ProviderError(ConnectedAccountsError):
    """The provider did not give what was asked for.

    ``status`` is the HTTP status, or None when no answer came. ``retry_after`` is what the provider
    asked us to wait, in seconds. ``sent`` says whether the provider may have acted on the request:
    False only where it is certain that nothing reached it or that it refused.
    """

    def __init__(
        self,
        code: str = "",
        message: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(code, message)
        self.status = status
        self.retry_after = retry_after
        self.sent = sent

    @property
    def refused(self) -> bool:
        """Whether the answer is a definite no. No answer, a 5xx or a 429 is none, nor are the two
        other statuses that ask for patience (RFC 9110 15.5.9, RFC 8470 5.2)."""
        status = self.status or 0
        return 400 <= status < 500 and status not in (408, 425, 429)


class ProviderUnavailable(ProviderError):
    """The provider is not answering right now; it will be tried again."""


class ClientRejected(ProviderError):
    """The provider refuses the site's own client credentials; a developer must look at them."""


class UnexpectedResponse(ProviderError):
    """The provider refuses, or answers what cannot be understood; it will be tried again."""
