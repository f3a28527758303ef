"""A person's browser as far as cookies go: it keeps a strict one back from what another site's
redirect caused, and follows a page that sends it on."""

import re
from html import unescape
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.test import Client

from connected_accounts.models import ConnectedAccount


class Browser(Client):
    """Signed in as ``user``. Two of them are two cookie jars."""

    def __init__(self, user: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if user is not None:
            self.force_login(user)

    def start(self, alias: str = "badgr", **data: Any) -> str:
        """Press the button; the address at the provider."""
        response = self.post(f"/connections/{alias}/connect/", data)
        assert response.status_code == 303, response.content
        return str(response["Location"])

    def come_back(self, params: dict[str, Any], alias: str = "badgr") -> HttpResponse:
        """The provider's redirect to the callback."""
        kept = {}
        if str(settings.SESSION_COOKIE_SAMESITE).lower() == "strict":
            kept = {name: self.cookies.pop(name) for name in [settings.SESSION_COOKIE_NAME]}
        response: Any = self.get(f"/connections/{alias}/callback/", params)
        for name, cookie in kept.items():
            self.cookies.setdefault(name, cookie)
        onward = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', _text(response))
        return self.get(unescape(onward[1])) if onward else response  # type: ignore[return-value]

    def accounts(self) -> list[ConnectedAccount]:
        return list(ConnectedAccount.objects.filter(user_id=self.session.get("_auth_user_id")))


def _text(response: HttpResponse) -> str:
    return response.content.decode(errors="replace")
