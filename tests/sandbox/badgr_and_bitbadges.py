"""A client site at the sandbox's Badgr and BitBadges, and people with accounts there."""

from typing import Any

import requests

from tests.sandbox import sandbox_client
from tests.sandbox.sandbox_client import SITE

BADGR_CALLBACK = f"{SITE}/connections/badgr/callback/"
BITBADGES_CALLBACK = f"{SITE}/connections/bitbadges/callback/"
BADGR_CLIENT = {"client_id": "badgr-demo", "client_secret": "badgr-demo-secret"}
BITBADGES_CLIENT = {"client_id": "bitbadges-demo", "client_secret": "bitbadges-demo-secret"}
API_KEY = "sandbox-key"


class Sandbox(sandbox_client.Sandbox):
    """With what a client site asks of Badgr and of BitBadges."""

    @property
    def api(self) -> str:
        return f"{self.url}/bitbadges/api/v0"

    def badgr_token(self, data: dict[str, str]) -> requests.Response:
        return self.post("/badgr/o/token", data)

    def badgr_refresh(self, token: str) -> requests.Response:
        data = {"grant_type": "refresh_token", "refresh_token": token}
        return self.badgr_token(data | BADGR_CLIENT)

    def badgr_self(self, token: str) -> requests.Response:
        return self.get("/badgr/v2/users/self", token)

    def bitbadges(self, path: str, body: dict[str, Any], token: str = "") -> requests.Response:
        headers = {"x-api-key": API_KEY}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return requests.post(f"{self.api}/{path}", json=body, headers=headers, timeout=10)

    def bitbadges_refresh(self, token: str, path: str = "siwbb/token") -> requests.Response:
        body = {"grant_type": "refresh_token", "refresh_token": token}
        return self.bitbadges(path, body | BITBADGES_CLIENT)


class Person(sandbox_client.Person):
    """With accounts at Badgr and at BitBadges."""

    server: Sandbox

    def connect_badgr(self, scope: str = "r:profile r:backpack") -> dict[str, Any]:
        code = self.allow(
            "/badgr/auth/oauth2/authorize",
            client_id="badgr-demo",
            redirect_uri=BADGR_CALLBACK,
            scope=scope,
        )["code"]
        token: dict[str, Any] = self.server.badgr_token(badgr_exchange(code)).json()
        return token

    def connect_bitbadges(self, scope: str = "readProfile,completeClaims") -> dict[str, Any]:
        code = self.allow(
            "/bitbadges/siwbb/authorize",
            client_id="bitbadges-demo",
            redirect_uri=BITBADGES_CALLBACK,
            scope=scope,
        )["code"]
        token: dict[str, Any] = self.server.bitbadges(
            "siwbb/token", bitbadges_exchange(code)
        ).json()
        return token


def badgr_exchange(code: str, **changes: str) -> dict[str, str]:
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": BADGR_CALLBACK}
    return data | BADGR_CLIENT | changes


def bitbadges_exchange(code: str, **changes: str) -> dict[str, str]:
    data = {"grant_type": "authorization_code", "code": code, "redirect_uri": BITBADGES_CALLBACK}
    return data | BITBADGES_CLIENT | changes
