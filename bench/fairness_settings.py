"""The measured site beside three servers: one slow, one quick, one that fails at revocations."""

from os import environ as env

from bench.settings import *  # noqa: F403
from bench.settings import CONNECTED_ACCOUNTS
from bench.stub import TOKEN_PATH, USER_PATH


def _server(name: str) -> dict[str, object]:
    url = env[f"BENCH_{name.upper()}_URL"]
    options = {
        "authorization_endpoint": f"{url}/authorize",
        "token_endpoint": f"{url}{TOKEN_PATH}",
        "userinfo_endpoint": f"{url}{USER_PATH}",
        "revocation_endpoint": f"{env['BENCH_REVOCATION_URL']}/revoke",
    }
    backend = "connected_accounts.providers.generic.OAuth2"
    return {"BACKEND": backend, "CLIENT_ID": "c", "CLIENT_SECRET": "s", "OPTIONS": options}


CONNECTED_ACCOUNTS["PROVIDERS"] = {name: _server(name) for name in ("slow", "quick")}
