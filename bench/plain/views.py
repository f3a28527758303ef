"""Connecting with Authlib's Django client, as its documentation shows, and a plain save."""

from datetime import UTC, datetime

from authlib.integrations.django_client import OAuth
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from bench.plain.models import PlainAccount

oauth = OAuth()
oauth.register(
    name="gitea",
    client_id=settings.CLIENT["client_id"],
    client_secret=settings.CLIENT["secret"],
    authorize_url=f"{settings.STUB}/login/oauth/authorize",
    access_token_url=f"{settings.STUB}/login/oauth/access_token",
    api_base_url=f"{settings.STUB}/api/v1/",
    client_kwargs={
        "scope": "read write",
        "code_challenge_method": "S256",
        "token_endpoint_auth_method": "client_secret_post",
    },
)


@login_required
@require_POST
def connect(request: HttpRequest) -> HttpResponse:
    back = request.build_absolute_uri(reverse("authlib_callback"))
    answer: HttpResponse = oauth.gitea.authorize_redirect(request, back)
    return answer


@login_required
def callback(request: HttpRequest) -> HttpResponse:
    token = oauth.gitea.authorize_access_token(request)
    person = oauth.gitea.get("user", token=token).json()
    PlainAccount.objects.create(
        user=request.user,
        subject=person["id"],
        access_token=token["access_token"],
        refresh_token=token["refresh_token"],
        expires_at=datetime.fromtimestamp(token["expires_at"], UTC),
    )
    return HttpResponseRedirect("/done/")
