"""One error for each page of a failure: ``test_failure_pages.py`` fails where one has none."""

from connected_accounts.exceptions import (
    AuthorizationDenied,
    ClientRejected,
    ConfigurationError,
    ConnectedAccountsError,
    InvalidState,
    ProviderUnavailable,
    UnexpectedResponse,
)

CAUSES: dict[str, ConnectedAccountsError] = {
    "malformed": InvalidState("malformed"),
    "expired": InvalidState("expired"),
    "replayed": InvalidState("replayed"),
    "wrong_issuer": InvalidState("wrong_issuer"),
    "code_missing": InvalidState("code_missing"),
    "code_rejected": InvalidState("code_rejected"),
    "settings_changed": InvalidState("settings_changed"),
    "other_user": InvalidState("other_user"),
    "other_browser": InvalidState("other_browser"),
    "not_permitted": InvalidState("not_permitted"),
    "access_denied": AuthorizationDenied("access_denied"),
    "other_account": AuthorizationDenied("other_account"),
    "account_in_use": AuthorizationDenied("account_in_use"),
    "too_many_accounts": AuthorizationDenied("too_many_accounts"),
    "unavailable": ProviderUnavailable("status_503"),
    "unexpected": UnexpectedResponse("not_json"),
    "refused_request": UnexpectedResponse("invalid_request"),
    "request_refused": UnexpectedResponse("request_refused"),
    "refused_for_good": UnexpectedResponse("invalid_scope"),
    "not_bound": UnexpectedResponse("not_bound"),
    "unusable": UnexpectedResponse("no_metadata"),
    "not_verified": UnexpectedResponse("verification_failed"),
    "draft_scopes_only": UnexpectedResponse("draft_scopes_only"),
    "clr_scopes_only": UnexpectedResponse("clr_scopes_only"),
    **{
        code: UnexpectedResponse(code)
        for code in (
            *("not_guarded", "no_resource_metadata", "other_resource"),
            *("no_authorization_server", "no_pkce", "client_needed"),
        )
    },
    "client_rejected": ClientRejected("invalid_client"),
    "credentials": ClientRejected("credentials"),
    "inputs": ConfigurationError("inputs"),
    "no_client": ConfigurationError("no_client"),
    "unknown_scope": ConfigurationError("unknown_scope"),
    "configuration": ConfigurationError("option"),
}
