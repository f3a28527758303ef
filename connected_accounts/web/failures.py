"""The failures of an authorization, in words a person understands, with their HTTP status."""

from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from connected_accounts.exceptions import (
    AuthorizationDenied,
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    InvalidState,
    ProviderUnavailable,
)

Text = str | Promise


@dataclass(frozen=True)
class Failure:
    """A page: its status, a heading, what happened, and whether trying again makes sense."""

    status: int
    title: Text
    text: Text
    try_again: bool = True


_STATES: Final[dict[str, Failure]] = {
    "expired": Failure(
        400,
        _("That took a little too long"),
        _("For your safety, connecting has to be finished within a few minutes."),
    ),
    "replayed": Failure(
        400,
        _("This was finished already"),
        _("The address you opened was used before. Your connections show how things stand."),
    ),
    "code_rejected": Failure(
        400,
        _("The service did not accept the answer"),
        _("The permission had expired or had already been used."),
    ),
    "settings_changed": Failure(
        400,
        _("Please start again"),
        _("The settings for this service changed while you were away."),
    ),
    "wrong_issuer": Failure(
        400,
        _("This answer came from elsewhere"),
        _("It does not come from the service you chose, so it was not used."),
    ),
    "code_missing": Failure(
        400,
        _("The answer was incomplete"),
        _("The service sent you back without a permission."),
    ),
    "other_user": Failure(
        403,
        _("Somebody else started this"),
        _(
            "Connecting was started by another user of this site. Sign in as that user to finish "
            "it, or connect your own account."
        ),
    ),
    "other_browser": Failure(
        403,
        _("You started this in a different browser"),
        _(
            "Go on in the browser where you started, or start again here. If you did not start it "
            "yourself, somebody may have sent you this address: then close this page."
        ),
    ),
    "not_permitted": Failure(
        403,
        _("You are not allowed to connect this"),
        _(
            "It would belong to the site itself or to a team, and you are not, or no longer, one "
            "of those who may connect accounts for it."
        ),
        try_again=False,
    ),
}
_MALFORMED: Final = Failure(
    400,
    _("This address cannot be used"),
    _(
        "It does not belong to a connection that was started here. Perhaps it was opened twice, or "
        "copied incompletely."
    ),
)
_DENIED: Final[dict[str, Failure]] = {
    "access_denied": Failure(
        200,
        _("You did not connect it"),
        _("You chose not to give the permission. That is fine; you can change your mind any time."),
    ),
    "other_account": Failure(
        409,
        _("That was another account"),
        _(
            "You signed in at the service as somebody else than before, so the connection was left "
            "as it is. Sign out there and try again, or connect the other account as a new one."
        ),
    ),
    "account_in_use": Failure(
        409,
        _("This account is in use already"),
        _("Another user of this site has connected it. It can belong to one user only."),
        try_again=False,
    ),
    "too_many_accounts": Failure(
        409,
        _("You have as many accounts of this service as this site takes"),
        _("Nothing was connected. Disconnect one that you do not need any more, and try again."),
    ),
}
_UNAVAILABLE: Final = Failure(
    502,
    _("The service is not answering"),
    _("It could not be reached just now. Please try again in a few minutes."),
)
_REJECTED: Final = Failure(
    502,
    _("The service does not accept this site"),
    _("The people who run this site need to fix this. They have been notified."),
    try_again=False,
)
_UNEXPECTED: Final = Failure(
    502,
    _("We could not understand the service’s answer"),
    _("Please try again. If it happens again, tell the people who run this site."),
)
_REFUSED_REQUEST: Final = Failure(
    502,
    _("The service refuses this request"),
    _(
        "The people who run this site need to look into this. Some services do not accept PKCE, "
        "and some require it: the option code_challenge_method of the service says which."
    ),
    try_again=False,
)
_REFUSED_BEFORE: Final = Failure(
    502,
    _("The service refuses what this site asks for"),
    _(
        "It was told so beforehand, and refused at once. The people who run this site find out why "
        "with the command check_provider."
    ),
    try_again=False,
)
_REFUSED_FOR_GOOD: Final = Failure(
    502,
    _("The service does not allow what this site asks for"),
    _("The people who run this site need to fix this."),
    try_again=False,
)
_NOT_VERIFIED: Final = Failure(
    403,
    _("The service did not confirm it"),
    _(
        "It says itself that a check of your account there did not succeed, so nothing was "
        "connected. Look there for what is missing, and try again."
    ),
)
_NOT_BOUND: Final = Failure(
    502,
    _("The service’s permission is not safe enough"),
    _(
        "This site asked for one that nobody else can use (DPoP), and got one that works for "
        "whoever finds it, so it was not accepted. The people who run this site need to look into "
        "this."
    ),
    try_again=False,
)
_NOT_ACCEPTED: Final = Failure(
    400,
    _("The service does not accept this"),
    _("What you entered is not valid there. Please check it and try again."),
)
_UNUSABLE_INPUT: Final = Failure(
    400,
    _("This cannot be used"),
    _("Something that is needed was not entered, or contains what cannot be used."),
)
_UNUSABLE: Final = Failure(
    502,
    _("This service cannot be connected"),
    _(
        "What it says of itself leads elsewhere, or lacks what this site needs, so nothing of "
        "yours was sent. The people who run this site need to look into this."
    ),
    try_again=False,
)
_OTHER_SCOPES: Final = {
    "draft_scopes_only": Failure(
        502,
        _("This service uses an outdated draft"),
        _(
            "It offers only the permissions of the draft of 2019, and none of Open Badges 2.1 or "
            "3.0, which this site asks for. Its operator has to bring it up to date."
        ),
        try_again=False,
    ),
    "clr_scopes_only": Failure(
        502,
        _("This service offers no badges"),
        _(
            "It offers only learner records (CLR), and none of the permissions of Open Badges, "
            "which this site asks for."
        ),
        try_again=False,
    ),
}
_SERVERS: Final = {
    "not_guarded": Failure(
        400,
        _("This server asks for no permission"),
        _(
            "It answers everybody, or the address is not that of an MCP server. Please check the "
            "address; nothing needs to be connected where everybody is served."
        ),
    ),
    "no_resource_metadata": Failure(
        502,
        _("This server does not say where to get permission"),
        _(
            "It refuses strangers, but the page that should say where to get permission cannot be "
            "used. Its operator needs to fix this."
        ),
    ),
    "other_resource": Failure(
        502,
        _("This server gives another address"),
        _(
            "What it says of itself is about another address, so nothing of yours was sent. Please "
            "check the address; if it is right, its operator needs to fix this."
        ),
    ),
    "no_authorization_server": Failure(
        502,
        _("This server does not say where to sign in"),
        _("It refuses strangers, and names no place to sign in. Its operator needs to fix this."),
    ),
    "no_pkce": Failure(
        502,
        _("This server's sign-in is not safe enough"),
        _(
            "It does not promise the protection that keeps a permission from being stolen on its "
            "way (PKCE with S256). Its operator needs to turn that on."
        ),
        try_again=False,
    ),
    "client_needed": Failure(
        502,
        _("This server does not let this site register itself"),
        _("The people who run this site have to register it there by hand."),
        try_again=False,
    ),
}
# RFC 6749 4.1.2.1: the same again would be refused again.
_REFUSALS_FOR_GOOD: Final = ("invalid_scope", "unauthorized_client", "unsupported_response_type")
_UNUSABLE_FOR: Final = (
    "issuer_not_https",
    "manifest_redirect",
    "manifest_too_large",
    "no_manifest",
    "no_metadata",
    "no_par_endpoint",
    "no_registration",
    "no_scope_offered",
    "private_address",
    "unlisted_host",
    "wrong_issuer",
)
_NOT_READY: Final = Failure(
    503,
    _("This service is not ready yet"),
    _("This service has not been set up yet."),
    try_again=False,
)
_CONFIGURATION: Final = Failure(
    500,
    _("This service is not set up correctly"),
    _("The people who run this site need to fix this."),
    try_again=False,
)
TOO_MANY: Final = Failure(
    429,
    _("Too many attempts"),
    _("Please wait a minute, then try again."),
)
_UNKNOWN_SCOPE: Final = Failure(
    400,
    _("This permission cannot be asked for"),
    _("The address names a permission that this site does not use."),
    try_again=False,
)
_CONFIGURATIONS: Final = {
    "inputs": _UNUSABLE_INPUT,
    "no_client": _NOT_READY,
    "no_redirect_base_url": _NOT_READY,
    "unknown_scope": _UNKNOWN_SCOPE,
}


def failure_for(error: ConnectedAccountsError) -> Failure:
    """The page for an error of ``start_authorization`` or ``complete_authorization``."""
    if isinstance(error, InvalidState):
        return _STATES.get(error.code, _MALFORMED)
    if isinstance(error, AuthorizationDenied):
        return _DENIED.get(error.code, _MALFORMED)
    if isinstance(error, ConfigurationError):
        return _CONFIGURATIONS.get(error.code, _CONFIGURATION)
    if isinstance(error, ProviderUnavailable):
        return _UNAVAILABLE
    if isinstance(error, ClientRejected):
        return _NOT_ACCEPTED if error.code == "credentials" else _REJECTED
    if error.code == "identity_provider":
        return _CONFIGURATION
    if error.code == "invalid_request" and getattr(error, "status", None) is None:
        return _REFUSED_REQUEST  # in the callback, which has no status
    if error.code in _REFUSALS_FOR_GOOD:
        return _REFUSED_FOR_GOOD
    if error.code == "request_refused":
        return _REFUSED_BEFORE
    if error.code == "verification_failed":
        return _NOT_VERIFIED
    if error.code == "not_bound":
        return _NOT_BOUND
    if error.code in _OTHER_SCOPES:
        return _OTHER_SCOPES[error.code]
    if error.code in _SERVERS:
        return _SERVERS[error.code]
    return _UNUSABLE if error.code in _UNUSABLE_FOR else _UNEXPECTED
