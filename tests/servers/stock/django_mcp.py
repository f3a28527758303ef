"""django-mcp-oauth as its README installs it, with one address behind its bearer."""

import json
import os
import sys
from pathlib import Path

import django
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings

told = json.loads(sys.argv[1])
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http, on loopback
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
settings.configure(
    SECRET_KEY="only for the tests",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": Path(told["folder"]) / "mcp.sqlite3",
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django_mcp_oauth",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    LOGIN_URL="/admin/login/",
    MCP_OAUTH_ISSUER=told["url"],
    MCP_RESOURCE_URL=f"{told['url']}/mcp",
    MCP_OAUTH_SCOPE=told["scope"],
    MCP_OAUTH_PRIVATE_KEY=key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    ).decode(),
    USE_TZ=True,
    **told["settings"],
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django_mcp_oauth.models import OAuth2Client, hash_client_secret  # noqa: E402
from django_mcp_oauth.resource import user_from_bearer, www_authenticate  # noqa: E402
from django_mcp_oauth.urls import oauth_urlpatterns, wellknown_urlpatterns  # noqa: E402
from django_mcp_oauth.validation import TokenError  # noqa: E402
from waitress import serve  # noqa: E402


def me(request):
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        user, _ = user_from_bearer(token)
    except TokenError as problem:
        challenge = {"WWW-Authenticate": www_authenticate(problem.error, problem.description)}
        return JsonResponse({"error": problem.error}, status=401, headers=challenge)
    return JsonResponse({"sub": str(user.pk), "email": user.email})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("me", me),
    *wellknown_urlpatterns,
    *oauth_urlpatterns,
]
call_command("migrate", verbosity=0)
get_user_model().objects.create_superuser(*told["person"].values())
for known in told["clients"]:
    client = OAuth2Client(client_id=known["id"], client_secret=hash_client_secret(known["secret"]))
    client.set_client_metadata(
        {
            "redirect_uris": [told["redirect_uri"]],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": told["scope"],
            "token_endpoint_auth_method": known["method"],
        }
    )
    client.save()
print("ready", flush=True)
serve(get_wsgi_application(), host="127.0.0.1", port=told["port"], threads=4)
