"""MCP: the contract, with a client that settings name, and what the fake of a server does."""

from typing import Any

import pytest

from connected_accounts.exceptions import UnexpectedResponse
from connected_accounts.models import ConnectedAccount, Outcome
from connected_accounts.services import refresh
from connected_accounts.testing import Answer, FakeProvider
from connected_accounts.testing.accounts import connect_account
from connected_accounts.testing.conformance import CodeContract, RevocationCases

SERVER = "https://mcp.example/mcp"


class TestMCP(CodeContract, RevocationCases):
    """What servers do that nobody expects is in ``tests/mcp``, with servers of their own."""

    alias = "mcp"
    backend = "connected_accounts.providers.mcp.MCP"
    options = {"servers": ["mcp.example"], "client_issuer": "https://guard.example"}
    inputs = {"server": SERVER}
    scopes = ["notes:read"]
    subject = SERVER
    faked_subject = SERVER
    label = "mcp.example/mcp (Notes)"
    life = 3600
    outcome_of_unknown = Outcome.REVOKED

    @pytest.mark.parametrize(
        ("body", "label"),
        [
            ('event: message\ndata: {"jsonrpc": "2.0", "id": 1, "result": {}}\n\n', ""),
            (
                'data:\n\ndata: {"jsonrpc": "2.0", "method": "notifications/message"}\n\n'
                'data: {"id": 1, "result": {"serverInfo": {"name": "notes"}}}\n\n',
                " (notes)",
            ),
            ('{"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "No"}}', ""),
        ],
    )
    def test_the_name_is_read_from_a_stream_too_and_may_be_missing(
        self, fake: FakeProvider, body: str, label: str
    ):
        identity = self.identity_from(fake, Answer(200, body=body))

        assert (identity.subject, identity.label) == (SERVER, f"mcp.example/mcp{label}")

    def test_a_page_is_no_server(self, fake: FakeProvider):
        page = Answer(200, body="<h1>Welcome</h1>")

        error = self.raised_by(lambda: self.identity_from(fake, page))

        assert (type(error), error.code) == (UnexpectedResponse, "no_identity")

    def test_the_challenge_is_asked_for_without_a_token(self, user: Any, fake: FakeProvider):
        self.connect(user, fake)

        [probe] = [sent for sent in fake.sent_to("discovery") if sent.url == SERVER]
        assert "Authorization" not in probe.headers
        [asked] = fake.sent_to("identity")
        assert (asked.bearer, asked.json["method"]) == ("canary-access-1", "initialize")

    def test_a_site_without_a_client_registers_at_the_fake(self, user: Any):
        self.configure(options={"client_issuer": ""}, CLIENT_ID="", CLIENT_SECRET="")
        with FakeProvider(self.alias, inputs=self.inputs) as fake:
            account = connect_account(fake, user)
            refresh(account)

        assert ConnectedAccount.objects.get().client_id.startswith("registered-")
        assert len(fake.sent_to("registration")) == 1
        assert {sent.fields["resource"] for sent in fake.sent_to("token")} == {SERVER}
