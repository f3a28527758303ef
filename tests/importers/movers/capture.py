"""oauth2-capture's own flow, from its button to its callback, at the stub.

One line of the module that its views import is written for Python 3.12: quotes within the same
quotes of an f-string. On Python 3.11 that line alone is read with the other ones.
"""

import importlib
import importlib.util
import sys
from importlib.abc import InspectLoader
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.test import RequestFactory

MODULE = "oauth2_capture.services.oauth2"
WRITTEN = '''f"{self.config["client_id"]}:{self.config["client_secret"]}"'''
READ = """f"{self.config['client_id']}:{self.config['client_secret']}\""""


def _module() -> Any:
    try:
        return importlib.import_module(MODULE)
    except SyntaxError:
        spec = importlib.util.find_spec(MODULE)
        assert spec is not None
        assert isinstance(spec.loader, InspectLoader)
        source = spec.loader.get_source(MODULE) or ""
        assert source.count(WRITTEN) == 1
        module = importlib.util.module_from_spec(spec)
        exec(compile(source.replace(WRITTEN, READ), str(spec.origin), "exec"), vars(module))
        sys.modules[MODULE] = module
        return module


def connect(user: Any, number: int) -> None:
    """Press its button and come back to its callback, as the stub's account with this number."""
    module = _module()
    views = importlib.import_module("oauth2_capture.views")

    class Gitea(module.GitHubOAuth2Provider):  # type: ignore[misc,name-defined]
        """The package's own for GitHub, which Gitea speaks like, at other addresses."""

        authorize_url = f"{settings.STUB}/login/oauth/authorize"
        token_url = f"{settings.STUB}/login/oauth/access_token"
        user_info_url = f"{settings.STUB}/api/v1/user"

    module.OAuth2ProviderFactory.get_provider = staticmethod(Gitea)
    session = SessionStore()

    def request(path: str, query: dict[str, str] | None = None) -> Any:
        made: Any = RequestFactory().get(path, query or {})
        made.user, made.session = user, session
        return made

    away = views.initiate_oauth2(request("/oauth2_capture/gitea/connect/"), "gitea")
    asked = parse_qs(urlsplit(away["Location"]).query)
    answer = {"state": asked["state"][0], "code": f"c.{number}.{'x' * 30}"}
    back = urlsplit(asked["redirect_uri"][0]).path
    finished = views.oauth2_callback(request(back, answer), "gitea")
    assert finished.status_code == 200, finished.content
