"""Bime's page of an account: a person's own tokens, and the sites they let in.

Bime's "simple workflow": generate a token on this page, and use it in every call. The page shows
it once; how it looked at Bime is not known.
"""

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.models import AbstractUser
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.views.generic import TemplateView
from oauth2_provider.models import get_application_model, set_token_value
from oauthlib.common import generate_token

from .bime import is_account
from .dialects import BIME
from .grants import AccessToken, alive_bare_tokens, alive_grants
from .seed import PERSONAL_TOKENS

NEVER = datetime(9999, 12, 31, tzinfo=UTC)


def personal_tokens(user: AbstractUser, account: str) -> QuerySet[Any]:
    return alive_bare_tokens(BIME).filter(user=user, scope=account).order_by("pk")


def sites(user: AbstractUser, account: str) -> QuerySet[Any]:
    mine = alive_grants(BIME).filter(user=user, access_token__scope=account)
    return mine.select_related("application").order_by("pk")


def make_personal_token(user: AbstractUser, account: str) -> str:
    application = get_application_model().objects.get(client_id=PERSONAL_TOKENS)
    raw_token: str = generate_token()
    token = AccessToken(user=user, application=application, scope=account, expires=NEVER)
    set_token_value(token, raw_token)
    token.save()
    return raw_token


class ApplicationsView(LoginRequiredMixin, TemplateView):
    template_name = "sandbox/bime_applications.html"

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        self.account: str = kwargs["account"]
        if not is_account(self.account):
            raise Http404

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user: Any = self.request.user
        return super().get_context_data(
            dialect=BIME,
            tokens=personal_tokens(user, self.account),
            sites=sites(user, self.account),
            **kwargs,
        )

    def post(self, request: HttpRequest, account: str) -> HttpResponse:
        user: Any = request.user
        if "make" in request.POST:
            # Not redirected: this answer is the only one that has the token in it.
            return self.render_to_response(
                self.get_context_data(account=account, new=make_personal_token(user, account))
            )
        for name, rows in (("revoke", personal_tokens), ("remove", sites)):
            chosen = request.POST.get(name, "")
            for row in rows(user, account).filter(pk=chosen if chosen.isdecimal() else None):
                row.revoke()
        return self.render_to_response(self.get_context_data(account=account))
