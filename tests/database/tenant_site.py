"""A site with django-tenants, run by ``test_tenants.py`` in a process of its own: python -m
tests.database.tenant_site URL LAYOUT HOOK, on an empty database.

LAYOUT is where the app is: in TENANT_APPS, in SHARED_APPS, or in both.
"""

import sys
from typing import Any

import dj_database_url
import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

import tests.settings

SHARED = ["django_tenants", "tests.database.customers", "django.contrib.contenttypes"]
OF_BOTH = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
]
TENANTS = ("t1", "t2")


def configure(url: str, layout: str, hook: str) -> None:
    values = {name: value for name, value in vars(tests.settings).items() if name.isupper()}
    engine = {"ENGINE": "django_tenants.postgresql_backend", "ATOMIC_REQUESTS": True}
    values["DATABASES"] = {"default": {**dj_database_url.parse(url), **engine}}
    ours = ["connected_accounts"]
    shared = SHARED + OF_BOTH + (ours if layout != "tenant" else [])
    tenant = OF_BOTH + (ours if layout != "shared" else [])
    if layout == "shared":  # tables with a key to the user are where users are
        tenant = ["django.contrib.messages"]
    values |= {
        "SHARED_APPS": list(dict.fromkeys(shared)),
        "TENANT_APPS": list(dict.fromkeys(tenant)),
        "INSTALLED_APPS": list(dict.fromkeys([*shared, *tenant])),
        "TENANT_MODEL": "customers.Client",
        "TENANT_DOMAIN_MODEL": "customers.Domain",
        "DATABASE_ROUTERS": ("django_tenants.routers.TenantSyncRouter",),
        "ROOT_URLCONF": __name__,
        "ALLOWED_HOSTS": ["*"],
        "MIDDLEWARE": [
            "django_tenants.middleware.main.TenantMainMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
    }
    if hook:
        values["CONNECTED_ACCOUNTS"] = values["CONNECTED_ACCOUNTS"] | {"PREPARE_CONNECTION": hook}
    settings.configure(**values)
    django.setup()


def tokens(request: HttpRequest) -> JsonResponse:
    """In the request's transaction: the access token of each account of the user."""
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import get_access_token

    mine = ConnectedAccount.objects.for_user(request.user)
    return JsonResponse({account.subject: get_access_token(account) for account in mine})


urlpatterns: list[Any] = []  # once the settings are there


def main(url: str, layout: str, hook: str) -> None:
    configure(url, layout, hook)
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.utils import timezone
    from django_tenants.utils import get_tenant_model, schema_context, tenant_context

    from connected_accounts.models import ConnectedAccount
    from connected_accounts.signals import account_refreshed
    from connected_accounts.tasks import refresh_due_accounts
    from connected_accounts.testing import FakeProvider
    from tests.database.customers.models import Client as Tenant
    from tests.database.customers.models import Domain
    from tests.journeys import connect

    urlpatterns.append(path("connections/", include("connected_accounts.urls")))
    urlpatterns.append(path("tokens/", tokens))
    call_command("migrate_schemas", "--shared", verbosity=0)
    sites: dict[str, Client] = {}
    seen_in_signal: list[str] = []
    for schema in ("public", *TENANTS):
        tenant = Tenant(schema_name=schema, name=schema)
        tenant.save(verbosity=0)
        Domain.objects.create(tenant=tenant, domain=f"{schema}.example.org", is_primary=True)
    with FakeProvider("badgr") as badgr:
        # The first account of each has the same number, where the tables are the tenants' own.
        for schema in TENANTS:
            with schema_context(schema):
                user = get_user_model().objects.create_user(f"person-of-{schema}")
            sites[schema] = Client(headers={"host": f"{schema}.example.org"})
            with schema_context(schema):
                sites[schema].force_login(user)
            with schema_context(schema):
                connect(sites[schema], badgr, subject=f"subject-of-{schema}")

        def expire(**values: Any) -> None:
            for schema in TENANTS:
                with schema_context(schema):
                    ConnectedAccount.objects.update(**values)

        def told(account: ConnectedAccount, **kwargs: Any) -> None:
            from django.db import connection

            seen_in_signal.append(f"{connection.schema_name}:{account.subject}")

        account_refreshed.connect(told)
        for _ in range(3):
            expire(expires_at=timezone.now())
            for schema in TENANTS:
                answer = sites[schema].get("/tokens/")
                assert answer.status_code == 200, answer.content
                [(subject, token)] = answer.json().items()
                whose = badgr._server.by_access_token(token).subject
                assert subject == whose == f"subject-of-{schema}", (schema, subject, whose)
        assert seen_in_signal == ["t1:subject-of-t1", "t2:subject-of-t2"] * 3, seen_in_signal

        # What a worker does, as docs/how-to/tenants.md says.
        expire(refresh_at=timezone.now())
        before = len(badgr.sent_to("token"))
        for tenant in get_tenant_model().objects.exclude(schema_name="public"):
            with tenant_context(tenant):
                refresh_due_accounts.apply().get()
        assert len(badgr.sent_to("token")) - before == 2
        assert set(badgr.presentations.values()) == {1}
        assert all(grant.is_alive for grant in badgr.grants)
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
