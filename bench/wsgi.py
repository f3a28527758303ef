"""A visitor without a browser: requests as a WSGI server would hand them in, cookies kept.

Django's test client would add work of its own (copies of contexts, signals) to everybody's CPU.
"""

from http.cookies import SimpleCookie
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.core.handlers.wsgi import WSGIHandler
from django.middleware.csrf import _get_new_csrf_string
from django.test import override_settings

ENVIRON = {
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "HTTP_HOST": "127.0.0.1:8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "wsgi.url_scheme": "http",
    "wsgi.version": (1, 0),
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.errors": None,
}


def handler(*extra_middleware: str) -> WSGIHandler:
    """The project's application, with what one contender needs besides the common middleware."""
    with override_settings(MIDDLEWARE=[*settings.COMMON_MIDDLEWARE, *extra_middleware]):
        return WSGIHandler()


class Answer:
    """What came back."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status, self.headers = int(status[:3]), headers

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class Visitor:
    """A signed-in person with a cookie jar, before one application."""

    def __init__(self, application: WSGIHandler, user: Any) -> None:
        self.application = application
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        self.csrf = _get_new_csrf_string()
        self.cookies = {
            settings.SESSION_COOKIE_NAME: str(session.session_key),
            settings.CSRF_COOKIE_NAME: self.csrf,
        }

    def get(self, target: str) -> Answer:
        return self.ask("GET", target, b"")

    def post(self, target: str, **fields: str) -> Answer:
        form = urlencode({"csrfmiddlewaretoken": self.csrf, **fields}).encode()
        return self.ask("POST", target, form)

    def ask(self, method: str, target: str, body: bytes) -> Answer:
        path, _, query = target.partition("?")
        environ = ENVIRON | {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": "application/x-www-form-urlencoded" if body else "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_COOKIE": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            "wsgi.input": BytesIO(body),
        }
        answer = Answer()
        response = self.application(environ, answer.start)
        answer.body = b"".join(response)
        response.close()
        for name, value in answer.headers:
            if name.lower() == "set-cookie":
                for key, morsel in SimpleCookie(value).items():
                    self.cookies[key] = morsel.value
        return answer
