"""A view of Django REST framework that needs a connection."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from connected_accounts.contrib.drf import HasConnection
from connected_accounts.models import ConnectedAccount

pytestmark = pytest.mark.django_db
CONNECT = "/connections/badgr/connect/"


class Badges(APIView):  # type: ignore[misc]
    permission_classes = [IsAuthenticated, HasConnection]
    connection_provider = "badgr"
    connection_scopes = ["r:backpack"]

    def get(self, request: Any) -> Response:
        return Response({"account": request.connected_account.pk})

    post = get


def ask(user: Any, path: str = "/badges/", method: str = "get") -> Response:
    request = getattr(APIRequestFactory(), method)(path)
    if user is not None:
        force_authenticate(request, user)
    return Badges.as_view()(request)


def test_the_owner_of_a_connection_gets_in(ada: Any, connected_account: Any) -> None:
    first, second = (connected_account("badgr", ada, subject=who) for who in ("one", "two"))
    assert ask(ada).data == {"account": second.pk}
    assert ask(ada, f"/badges/?connection={first.pk}").data == {"account": first.pk}
    assert ask(ada, method="post").status_code == 200


def test_who_has_none_is_told_where_to_connect(ada: Any, bob: Any, connected_account: Any) -> None:
    connected_account("badgr", ada)
    answer = ask(bob)
    assert answer.status_code == 403
    assert (answer.data["code"], answer.data["missing"]) == ("connection_required", ["r:backpack"])
    assert answer.data["connect_url"] == f"{CONNECT}?scope=r%3Abackpack"
    ConnectedAccount.objects.transition(status="reconnect_required")
    assert ask(ada).data["code"] == "connection_required"


def test_who_granted_too_little_is_told_what_is_missing(ada: Any, connected_account: Any) -> None:
    connected_account("badgr", ada, granted=["r:profile"])
    answer = ask(ada)
    assert answer.status_code == 403
    assert (answer.data["code"], answer.data["missing"]) == ("scopes_missing", ["r:backpack"])


def test_nobody_in_particular_is_asked_to_sign_in(db: None) -> None:
    assert ask(None).status_code in (401, 403)
    assert "connect_url" not in ask(None).data
    request = APIRequestFactory().get("/")
    request.user = AnonymousUser()
    assert HasConnection().has_permission(Badges().initialize_request(request), Badges()) is False


def test_a_site_without_our_pages_says_what_is_missing_and_has_no_link(
    ada: Any, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.bare_urls"
    answer = ask(ada)
    assert (answer.status_code, answer.data["code"]) == (403, "connection_required")
    assert (answer.data["missing"], answer.data["connect_url"]) == (["r:backpack"], "")
