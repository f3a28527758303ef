"""A service of the catalogue as a server on this machine, played with its recorded answers.

Each address of the service is below its host's name: ``https://github.com/login`` becomes
``http://127.0.0.1:9100/github.com/login``. For trying out a site before there is a client id.
"""

import threading
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from django.utils.html import format_html, format_html_join

from connected_accounts.conf import ProviderConfig
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers.base import Provider
from connected_accounts.providers.catalogue.services import service
from connected_accounts.providers.endpoints import ENDPOINT_NAMES
from connected_accounts.providers.hosts import PLACE
from connected_accounts.providers.registry import provider_of
from connected_accounts.secret import Secret
from connected_accounts.testing.adapter import RecordedRequest
from connected_accounts.testing.catalogue import CatalogueDialect, recorded_answers
from connected_accounts.testing.fake import AuthorizationPageError, FakeProvider
from connected_accounts.testing.faults import Answer
from connected_accounts.testing.server import Grant

CLIENT_ID: Final = "sandbox-client"
CLIENT_SECRET: Final = "sandbox-secret"  # noqa: S105  # of nothing
HOST: Final = "host.example"  # of a service that is at many
NAME: Final = "acme"  # of a customer's part of an address
MAX_BODY: Final = 1024 * 1024
PAGE: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>{0}</title>'
    "<h1>{0}</h1>{1}<p>A sandbox. Nothing here is real.</p></html>"
)
ASKED: Final = (
    '<form method="post"><p>A site asks for: {}</p><p><label>You are '
    '<input name="subject" value="ada"></label></p>'
    '<button name="answer" value="allow">Allow</button> '
    '<button name="answer" value="deny">Do not allow</button></form>'
)


class SandboxDialect(CatalogueDialect):
    """The service, but for what would lead away from here."""

    def token_fields(self, grant: Grant) -> dict[str, Any]:
        fields = super().token_fields(grant)
        fields.pop(self.provider.api_base_field.partition(".")[0], None)
        return fields

    def api(self, request: RecordedRequest) -> Answer:
        grant = self.grant_shown(request)
        return grant if isinstance(grant, Answer) else Answer(200, {"sandbox": grant.subject})


def played_provider(name: str) -> Provider:
    """A service out of the catalogue, whatever settings have."""
    config = ProviderConfig(
        alias=name,
        backend="",
        client_id=CLIENT_ID,
        client_secret=Secret(CLIENT_SECRET),
        scopes=None,
        optional_scopes=(),
        options={"hosts": [HOST], **_by_secret(name)},
        exclusive=False,
        refresh_policy=None,
        max_requests_per_second=None,
        service=name,
    )
    return provider_of(config)


def _by_secret(name: str) -> dict[str, str]:
    """The option by which a site needs no key here, where the service asks for one."""
    found = service(name)
    method = found.options.get("token_endpoint_auth_method") if found else None
    by_key = method == "private_key_jwt"
    return {"token_endpoint_auth_method": "client_secret_post"} if by_key else {}


class Played(FakeProvider):
    """A fake that settings need not know."""

    def _provider(self, alias: str) -> Provider:
        return played_provider(alias)


class Sandbox:
    """One service on a loopback port; 0 picks a free one. ``say`` is told what happens."""

    def __init__(
        self,
        service: str,
        *,
        port: int = 0,
        access_token_seconds: int | None = None,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        if recorded_answers(service) is None:
            raise ConfigurationError(
                "no_sandbox", f"The catalogue has no recorded answers of {service!r}."
            )
        self.service, self.say = service, say
        asked = played_provider(service).connect_fields
        inputs = {name: HOST if name == "host" else NAME for name in asked}
        self.fake = Played(service, inputs=inputs, dialect=SandboxDialect)
        if access_token_seconds is not None:
            self.fake.behaviour.expires_in = access_token_seconds
        self.http = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.base = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.fake._dialect.played_below = self.base

    def entry(self) -> dict[str, Any]:
        """The entry of PROVIDERS that reaches this sandbox."""
        provider = played_provider(self.service)
        declared = {name: getattr(provider, name) for name in ENDPOINT_NAMES}
        at_hosts = {name for name, address in declared.items() if PLACE in address}
        options: dict[str, Any] = _by_secret(self.service) | {
            name: f"{self.base}/{address.removeprefix('https://')}"
            for name, address in declared.items()
            if address and name not in at_hosts
        }
        if at_hosts:
            options["hosts"] = [f"{self.base}/{HOST}"]
        if provider.api_base_field:
            options["api_base_field"] = ""
        return {
            "SERVICE": self.service,
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
            **({"OPTIONS": options} if options else {}),
        }

    def __enter__(self) -> "Sandbox":
        serve = partial(self.http.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    # What a browser or a site gets.

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Play one request; ``path`` begins with the host that it stands for."""
        self.fake._server.advance(0)  # what has run out since the last request
        if path.strip("/") == "":
            return self._overview(method, parse_qs(body.decode(errors="replace")))
        url = f"https://{path.lstrip('/')}"
        endpoint = self.fake._dialect.endpoint_of(url, method)
        if endpoint is None:
            return Answer(404, {"error": "not_at_this_service"})
        if endpoint == "authorization":
            return self._authorization(method, url, parse_qs(body.decode(errors="replace")))
        kept = {n: v for n, v in headers.items() if n.lower() not in ("host", "content-length")}
        request = requests.Request(method, url, headers=kept, data=body).prepare()
        answer = self.fake._handle(request)
        self.say(f"{endpoint}: {method} {urlsplit(url).path} {answer.status}")
        return answer

    def _authorization(self, method: str, url: str, form: dict[str, list[str]]) -> Answer:
        asked = parse_qs(urlsplit(url).query)
        if method != "POST":
            scopes = asked.get(self.fake._dialect.provider.scope_parameter, ["nothing by name"])
            return self._page(format_html(ASKED, scopes[0]))
        allowed = form.get("answer") == ["allow"]
        subject = form.get("subject", ["ada"])[0] or "ada"
        try:
            params = self.fake.authorize(url, subject=subject, label=subject, deny=not allowed)
        except AuthorizationPageError as error:
            return self._page(format_html("<p>{}</p>", str(error)), status=400)
        self.say(f"{subject} {'allowed' if allowed else 'refused'} it")
        back = asked["redirect_uri"][0]
        joined = "&" if urlsplit(back).query else "?"
        return Answer(303, headers={"Location": f"{back}{joined}{urlencode(params)}"})

    def _overview(self, method: str, form: dict[str, list[str]]) -> Answer:
        if method == "POST" and form.get("answer") == ["withdraw"]:
            self.fake.withdraw()
            self.say("all grants were withdrawn here")
        state = {True: "alive", False: "ended"}
        rows = [(grant.subject, state[grant.is_alive]) for grant in self.fake.grants]
        listed = format_html_join("", "<li>{}: {}</li>", rows)
        button = '<form method="post"><button name="answer" value="withdraw">Withdraw all</button>'
        return self._page(format_html("<ul>{}</ul>" + button + "</form>", listed))

    def _page(self, content: str, *, status: int = 200) -> Answer:
        name = self.fake._dialect.provider.name
        return Answer(status, body=format_html(PAGE, f"Sandbox {name}", content))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sandbox = self

        class Handler(BaseHTTPRequestHandler):
            def _play(self) -> None:
                length = min(int(self.headers.get("Content-Length") or 0), MAX_BODY)
                body = self.rfile.read(length)
                answer = sandbox.answer(self.command, self.path, dict(self.headers), body)
                content = answer.content()
                self.send_response(answer.status)
                for name, value in answer.all_headers().items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_DELETE = _play

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: addresses hold codes."""

        return Handler
