"""A client for the conformance suite of the Model Context Protocol: one person who connects the
server that the suite names, by the app's own pages, and uses it by the app's own session.

    python -m tests.mcp.conformance http://localhost:PORT/mcp

The suite's servers call themselves ``localhost``, a name, and so nothing that settings may name;
here it is taken for the address that it is. Whatever else is asked is asked by the app.
"""

import json
import os
import sys
from typing import Any, Final

from django.conf import settings

from tests.mcp.person import Person

SITE: Final = "https://conformance-test.local"
METADATA: Final = f"{SITE}/client-metadata.json"  # the one that the suite expects
HEADERS: Final = {"Accept": "application/json, text/event-stream"}
NAMED: Final = {"name": "django-connected-accounts", "version": "1"}
CALLS: Final = (
    ("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": NAMED}),
    ("tools/list", {}),
    ("tools/call", {"name": "test-tool", "arguments": {}}),
)


def configure(server: str) -> None:
    """Settings of a site with this server and no other, in a database of its own."""
    entry: dict[str, Any] = {
        "BACKEND": "connected_accounts.providers.mcp.MCP",
        "OPTIONS": {"servers": [server], "client_metadata_url": METADATA},
    }
    processors = ("template.context_processors.request", "contrib.auth.context_processors.auth")
    settings.configure(
        SECRET_KEY="conformance",  # of a site that lives for a second
        FIELD_ENCRYPTION_KEY=["b25seS1mb3ItdGhlLXRlc3RzLTAxMjM0NTY3ODktYWI="],
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "connected_accounts",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": [f"django.{name}" for name in processors]},
            }
        ],
        ROOT_URLCONF="tests.mcp.conformance_urls",
        USE_TZ=True,
        CONNECTED_ACCOUNTS={"REDIRECT_BASE_URL": SITE, "PROVIDERS": {"mcp": entry}},
    )
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from connected_accounts import conf

    is_literal = conf.is_loopback_literal
    conf.is_loopback_literal = lambda host: host == "localhost" or is_literal(host)


def connect_at_once(user: Any, server: str, context: dict[str, str]) -> Any:
    """Connect an account of the site's own, with the client that the suite has registered, or one
    of ``user`` by their identity token."""
    from connected_accounts.providers.registry import get_provider
    from connected_accounts.services import connect_directly

    entry = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["mcp"]
    entry["OPTIONS"]["grant_type"] = "client_credentials"
    # As whoever writes settings reads it from the server.
    issuer = get_provider("mcp").bound(inputs={"server": server}).endpoints().issuer
    entry["OPTIONS"]["client_issuer"] = issuer
    names = {"client_id": "CLIENT_ID", "client_secret": "CLIENT_SECRET"}
    names["private_key_pem"] = "CLIENT_KEY"
    entry |= {names[name]: text for name, text in context.items() if name in names}
    values = {"server": server}
    if "idp_id_token" not in context:
        return connect_directly(user=None, provider="mcp", values=values)[0]
    settings.CONNECTED_ACCOUNTS["PROVIDERS"]["sign-in"] = {
        "BACKEND": "connected_accounts.providers.generic.OAuth2",
        "CLIENT_ID": context["idp_client_id"],
        "OPTIONS": {"issuer": context["idp_issuer"], "token_endpoint_auth_method": "none"},
    }
    entry["OPTIONS"] |= {"grant_type": "identity_assertion", "identity_provider": "sign-in"}
    values["id_token"] = context["idp_id_token"]
    return connect_directly(user=user, provider="mcp", values=values)[0]


def use(person: Person, account: Any, server: str) -> None:
    """Say hello, list the tools and call one; give more where a call wants more."""
    from connected_accounts.exceptions import InsufficientScope
    from connected_accounts.services import get_session
    from connected_accounts.web.way import way_to_more

    waiting = list(CALLS)
    while waiting:
        method, params = waiting[0]
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            get_session(account).post(server, json=message, headers=HEADERS).raise_for_status()
            waiting.pop(0)
        except InsufficientScope as error:
            address = way_to_more(account, error.scopes, "/")
            if not address:
                raise
            account = person.give_more(address)


def main() -> int:
    """Connect the server that the suite names, and use it; 1 where the app refuses."""
    server = sys.argv[-1]
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    at_once = "client-credentials" in scenario or "cross-app-access" in scenario
    configure(server)
    from django.contrib.auth.models import User

    person = Person(User.objects.create_user("ada"), "mcp", site=SITE)
    entered = {n: context[n] for n in ("client_id", "client_secret") if n in context}
    try:
        if at_once:
            account = connect_at_once(person.user, server, context)
        else:
            account = person.connect(server, **entered)
        use(person, account, server)
    except Exception as error:  # whatever it is, the suite is to see it
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
