"""Who may what: a row for every page, page of the admin, action and command, with what those get
who may not. One that is new and has no row here fails ``test_census.py``."""

from typing import NamedTuple


class Page(NamedTuple):
    """One URL name, and what a signed-in person who is not the owner gets. ``{pk}`` is Ada's.
    Whoever is signed out gets the same where it is public, and is sent to sign in elsewhere."""

    path: str
    get: int
    post: int
    is_public: bool = False


PAGES = {
    "list": Page("", 200, 405),
    "done": Page("done/", 200, 405),
    "connect": Page("badgr/connect/", 200, 303),
    "callback": Page("badgr/callback/", 400, 405),
    "client_metadata": Page("badgr/client.json", 404, 405, is_public=True),
    "jwks": Page("jwks/", 200, 405, is_public=True),
    "reconnect": Page("{pk}/reconnect/", 404, 404),
    "disconnect": Page("{pk}/disconnect/", 404, 404),
    "history": Page("{pk}/history/", 404, 405),
    "test": Page("{pk}/test/", 404, 404),
}


class Endpoint(NamedTuple):
    """One URL name of the JSON API, and what a signed-in person who is not the owner gets, by
    method; any other method is a 405, and whoever is signed out gets a 401."""

    path: str
    statuses: dict[str, int]


ENDPOINTS = {
    "accounts": Endpoint("accounts/", {"get": 200}),
    "account": Endpoint("accounts/{pk}/", {"get": 404, "delete": 404}),
    "reconnect": Endpoint("accounts/{pk}/reconnect/", {"post": 404}),
    "test": Endpoint("accounts/{pk}/test/", {"post": 404}),
    "history": Endpoint("accounts/{pk}/history/", {"get": 404}),
    "providers": Endpoint("providers/", {"get": 200}),
    "connect": Endpoint("providers/badgr/connect/", {"post": 200}),
    "revocations": Endpoint("revocations/", {"get": 200}),
}


class AdminPage(NamedTuple):
    """One URL of the admin, and what staff get who may only look. Without permission it is 403."""

    path: str
    get: int
    post: int


def read_only(model: str, pk: str) -> dict[str, AdminPage]:
    """The pages of a model that can only be looked at."""
    return {
        f"{model}_changelist": AdminPage(f"{model}/", 200, 200),
        f"{model}_add": AdminPage(f"{model}/add/", 403, 403),
        f"{model}_change": AdminPage(f"{model}/{pk}/change/", 200, 403),
        f"{model}_delete": AdminPage(f"{model}/{pk}/delete/", 403, 403),
        f"{model}_history": AdminPage(f"{model}/{pk}/history/", 200, 200),
    }


ADMIN_PAGES = {
    **read_only("connectedaccount", "{pk}"),
    **read_only("revocation", "{revocation}"),
    **read_only("event", "{event}"),
    **read_only("deployment", "{deployment}"),
    **read_only("providerstate", "{state}"),
    **read_only("providerclient", "{client}"),
    "connectedaccount_test": AdminPage("connectedaccount/{pk}/test/", 403, 403),
    "connectedaccount_connect": AdminPage("connectedaccount/connect/", 403, 403),
    "connectedaccount_reconnect": AdminPage("connectedaccount/{site}/connect-again/", 403, 403),
    "connectedaccount_person": AdminPage("connectedaccount/person/site/", 200, 405),
    "providerstate_pause": AdminPage("providerstate/badgr/pause/", 403, 403),
    "providerstate_resume": AdminPage("providerstate/badgr/resume/", 403, 403),
}

# Action → the one permission that it takes.
ADMIN_ACTIONS = {
    "connectedaccount.refresh_now": "change_connectedaccount",
    "connectedaccount.disconnect_and_revoke": "delete_connectedaccount",
    "connectedaccount.give_to_another_owner": "change_connectedaccount",
    "connectedaccount.ask_to_reconnect": "change_connectedaccount",
    "connectedaccount.download_csv": "view_connectedaccount",
    "revocation.try_again": "change_revocation",
}
# A mail and a file: the rows stay as they are.
CHANGE_NO_ROW = ("connectedaccount.ask_to_reconnect", "connectedaccount.download_csv")


class Command(NamedTuple):
    """One command, for whoever has a shell. What cannot be undone asks first; ``withdraws`` says
    that it carries out what a disconnect decided before, as the workers do."""

    arguments: tuple[str, ...]
    asks: bool
    withdraws: bool = False


COMMANDS = {
    "check_provider": Command(("badgr",), asks=False),
    "confirm_site": Command(("--endpoints", "badgr"), asks=True),
    "connections_status": Command((), asks=False),
    "make_client_key": Command((), asks=False),
    "refresh_connections": Command((), asks=False, withdraws=True),
    "import_connections": Command(("--from", "allauth", "--blank"), asks=True),
    "revoke_all": Command(("--provider", "badgr"), asks=True),
    "rotate_token_keys": Command(("--dry-run",), asks=False),
    "sandbox": Command(("github", "--port", "0"), asks=False),
}
