"""A life of accounts, driven by HTTP: what ada and the staff do, and what goes wrong."""

import json
import re
import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from tests.tools.collector import Collector

PASSWORD = "ada's own, and long enough"
BITS = "connections/bits/connect/"


class Life:
    """``secrets`` are those that went over the wire, by kind; ``statuses`` what was answered."""

    def __init__(self, site: str, collector: Collector) -> None:
        self.site, self.collector = site, collector
        self.browser = requests.Session()
        self.secrets: dict[str, set[str]] = {
            name: set() for name in ("code", "state", "posted", "admin", "cookie")
        }
        self.statuses: list[tuple[str, int]] = []

    def lead(self) -> None:
        self.sign_in()
        for fault in ("", "middleware", "database"):
            self.callback("acme", fault=fault)
        self.callback("acme", denied=True)
        self.callback("acme", state=self.new("state"))
        for answer in ((500, {}), (401, {"error": "invalid_client"}), (200, {"no": "token"})):
            self.collector.answers.append(answer)
            self.callback("acme")
        self.callback("acme", signed_out=True)
        self.callback("weibo")
        self.enter_credentials()
        self.staff()
        self.get("use/")
        self.get("connections/")
        for pk in self.accounts():
            self.post(f"connections/{pk}/disconnect/")
        self.get("withdraw/")

    def new(self, kind: str) -> str:
        text = f"{kind}-{secrets.token_urlsafe(24)}"
        self.secrets[kind].add(text)
        return text

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        answer = self.browser.get(
            f"{self.site}/{path}", allow_redirects=False, timeout=60, **kwargs
        )
        self.statuses.append((path.partition("?")[0], answer.status_code))
        return answer

    def post(self, path: str, fault: str = "", **data: Any) -> requests.Response:
        address = f"{self.site}/{path}"
        data["csrfmiddlewaretoken"] = self.browser.cookies.get("csrftoken", "")
        answer = self.browser.post(
            address, data, headers={"X-Fault": fault}, allow_redirects=False, timeout=60
        )
        self.statuses.append((f"POST {path}", answer.status_code))
        cookie = self.browser.cookies.get("connected_accounts_token")
        self.secrets["cookie"] |= {cookie} if cookie else set()
        return answer

    def sign_in(self, back: str = "") -> None:
        self.get(back.lstrip("/") or "accounts/login/")
        path = back.lstrip("/") or "accounts/login/"
        assert self.post(path, username="ada", password="wrong").status_code == 200
        assert self.post(path, username="ada", password=PASSWORD).status_code == 302

    def callback(
        self,
        alias: str,
        *,
        fault: str = "",
        denied: bool = False,
        state: str = "",
        signed_out: bool = False,
    ) -> None:
        answer = self.post(f"connections/{alias}/connect/")
        assert answer.status_code == 303, (answer.status_code, answer.text[-2000:])
        query = parse_qs(urlsplit(answer.headers["Location"]).query)
        self.secrets["state"].add(query["state"][0])
        params = {"state": state or query["state"][0]}
        params |= {"error": "access_denied"} if denied else {"code": self.new("code")}
        if signed_out:
            del self.browser.cookies["sessionid"]
        path = f"connections/{alias}/callback/"
        answer = self.get(path, params=params, headers={"X-Fault": fault})
        if signed_out:
            assert answer.status_code == 303
            self.sign_in(answer.headers["Location"])
            answer = self.get(path)
            assert answer.status_code == 303, answer.text
        self.get(path, params=params)  # again

    def enter_credentials(self) -> None:
        """Ada's own at Bits: right, wrong, while Bits is down, and while the site breaks."""
        right = self.new("posted")
        self.collector.people.add(right)
        self.get(BITS)
        for secret, fault in ((right, ""), (self.new("posted"), ""), (right, "middleware")):
            self.post(BITS, fault=fault, client_id="adas", client_secret=secret)
        self.post(BITS, fault="database", client_id="adas", client_secret=right)
        self.collector.answers.append((500, {}))
        self.post(BITS, client_id="adas", client_secret=right)
        body = {"inputs": {"client_id": "adas", "client_secret": right}}
        path = "api/connections/providers/bits/connect/"
        token = self.browser.cookies["csrftoken"]
        for fault in ("", "middleware"):
            headers = {"X-CSRFToken": token, "X-Fault": fault, "Content-Type": "application/json"}
            answer = self.browser.post(
                f"{self.site}/{path}", json.dumps(body), headers=headers, timeout=60
            )
            self.statuses.append((path, answer.status_code))

    def staff(self) -> None:
        """A client's credentials, entered in the admin; ada is staff too."""
        path = "admin/connected_accounts/providerclient/add/"
        self.get(path)
        for fault in ("", "database", "middleware"):
            client = f"client-{secrets.token_hex(4)}"
            secret = self.new("admin")
            self.post(path, fault=fault, provider="acme", client_id=client, new_secret=secret)
        self.get("admin/connected_accounts/connectedaccount/")
        self.get("admin/connected_accounts/event/")

    def accounts(self) -> list[str]:
        return sorted(
            set(re.findall(r"/connections/(\d+)/disconnect/", self.get("connections/").text))
        )
