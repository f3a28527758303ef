"""A client site at the sandbox's Badge Connect hosts, which it knows by their descriptions."""

from dataclasses import dataclass, replace
from typing import Any, Self

import requests

from tests.sandbox.sandbox_client import S256, SITE, VERIFIER, Person, Sandbox

CALLBACK = f"{SITE}/connections/badge-connect/callback/"
OB2 = "https://purl.imsglobal.org/spec/ob/v2p1/scope/"
OB3 = "https://purl.imsglobal.org/spec/ob/v3p0/scope/"
METADATA = {
    "client_name": "A site of ours",
    "client_uri": SITE,
    "logo_uri": f"{SITE}/logo.png",
    "tos_uri": f"{SITE}/terms/",
    "policy_uri": f"{SITE}/privacy/",
    "software_id": "a-site-of-ours",
    "software_version": "1",
    "redirect_uris": [CALLBACK],
    "token_endpoint_auth_method": "client_secret_basic",
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
}


@dataclass(frozen=True)
class Host:
    """What a client knows of a host once it has read its description."""

    sandbox: Sandbox
    dialect: str
    register_url: str
    authorize_url: str
    token_url: str
    refresh_url: str
    revoke_url: str
    profile_url: str
    scope: str
    client: tuple[str, str] = ("", "")

    def register(self, **changes: Any) -> requests.Response:
        body = METADATA | {"scope": self.scope} | changes
        sent = {name: value for name, value in body.items() if value is not None}
        return requests.post(self.register_url, json=sent, timeout=5)

    def registered(self, **changes: Any) -> Self:
        answer = self.register(**changes).json()
        return replace(self, client=(answer["client_id"], answer["client_secret"]))

    def ask(self, **changes: str) -> dict[str, str]:
        query = {"client_id": self.client[0], "redirect_uri": CALLBACK, "response_type": "code"}
        return query | {"scope": self.scope, "state": "s-1"} | S256 | changes

    def allow(self, name: str = "ada", **changes: str) -> dict[str, str]:
        path = self.authorize_url.removeprefix(self.sandbox.url)
        return Person(self.sandbox, name).allow(path, **self.ask(**changes))

    def exchange(self, code: str, without: str = "", **options: Any) -> requests.Response:
        data = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "scope": self.scope,
            "code_verifier": VERIFIER,
        }
        data.pop(without, None)
        return requests.post(
            self.token_url, data=data, timeout=5, **({"auth": self.client} | options)
        )

    def refresh(self, token: str) -> requests.Response:
        data = {"grant_type": "refresh_token", "refresh_token": token, "scope": self.scope}
        return requests.post(self.refresh_url, data=data, auth=self.client, timeout=5)

    def revoke(self, token: str, **changes: str) -> requests.Response:
        data = {"token": token} | changes
        return requests.post(self.revoke_url, data=data, auth=self.client, timeout=5)

    def profile(self, token: str) -> requests.Response:
        return self.sandbox.get(self.profile_url.removeprefix(self.sandbox.url), token)


def read_manifest(sandbox: Sandbox, path: str, dialect: str) -> Host:
    (host,) = sandbox.get(path).json()["badgeConnectAPI"]
    return Host(
        sandbox,
        dialect,
        register_url=host["registrationUrl"],
        authorize_url=host["authorizationUrl"],
        token_url=host["tokenUrl"],
        refresh_url=host["tokenUrl"],
        revoke_url=host.get("tokenRevocationUrl", f"{sandbox.url}/{dialect}/o/revoke_token/"),
        profile_url=f"{host['apiBase']}/profile",
        scope=" ".join(name for name in host["scopesOffered"] if "update" not in name),
    )


def open_badges_2(sandbox: Sandbox) -> Host:
    return read_manifest(sandbox, "/.well-known/badgeconnect.json", "badgeconnect")


def badgr(sandbox: Sandbox) -> Host:
    path = "/badgeconnect-badgr/.well-known/badgeconnect.json"
    return read_manifest(sandbox, path, "badgeconnect-badgr")


def open_badges_3(sandbox: Sandbox) -> Host:
    base = f"{sandbox.url}/badgeconnect3"
    described = sandbox.get("/badgeconnect3/ims/ob/v3p0/discovery").json()
    scheme = described["components"]["securitySchemes"]["OAuth2ACG"]
    flow = scheme["flows"]["authorizationCode"]
    return Host(
        sandbox,
        "badgeconnect3",
        register_url=scheme["x-imssf-registrationUrl"],
        authorize_url=flow["authorizationUrl"],
        token_url=flow["tokenUrl"],
        refresh_url=flow["refreshUrl"],
        revoke_url=f"{base}/oauth/revoke",
        profile_url=f"{base}/ims/ob/v3p0/profile",
        scope=" ".join(name for name in flow["scopes"] if "up" not in name.rpartition(".")[2]),
    )
