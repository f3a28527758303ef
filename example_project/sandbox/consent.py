"""The page where a person says yes or no, on top of the toolkit's authorization view."""

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from oauth2_provider.views import AuthorizationView

from .dialects import Dialect
from .translate import replace_query


class ConsentView(AuthorizationView):  # type: ignore[misc]
    """Reads the provider's query, lets the toolkit judge it, shows what was asked for."""

    template_name = "sandbox/consent.html"
    dialect: Dialect
    lets_choose = False
    """Whether a request without any scope lets the person tick them."""
    knows_response_types = False
    """Whether a request must say ``response_type=code``."""
    page = ""

    def asked_scopes(self, query: QueryDict) -> list[str]:
        """The scopes of the request, in the toolkit's spelling."""
        return query.get("scope", "").split()

    def translate(self, request: HttpRequest) -> bool:
        """Rewrite the query; tell whether the person is to choose the scopes."""
        self.page = request.get_full_path()
        query = request.GET.copy()
        if not self.knows_response_types:
            # These pages work without it and know no other (badgr-ui 2020, BitBadges docs).
            query["response_type"] = "code"
        asked = self.asked_scopes(query)
        self.choosing = self.lets_choose and not asked
        query["scope"] = " ".join(asked or self.dialect.default_scopes)
        replace_query(request, query)
        return self.choosing

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        self.translate(request)
        response: HttpResponse = super().get(request, *args, **kwargs)
        return response

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        form = request.POST.copy()
        if self.translate(request):
            chosen = [name for name in form.getlist("scope") if name in self.dialect.scopes]
            if form.get("allow") and not chosen:
                return HttpResponseRedirect(f"{self.page}&nothing_chosen=1")
            # Refusing needs no scope, but the toolkit's form wants the field.
            form["scope"] = " ".join(chosen or self.dialect.default_scopes)
        else:
            form["scope"] = request.GET["scope"]
        request.POST = form  # type: ignore[assignment]
        response: HttpResponse = super().post(request, *args, **kwargs)
        return response

    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        parts = urlsplit(redirect_to)
        answer = parse_qs(parts.query, keep_blank_values=True)
        if not self.dialect.tells_issuer:
            answer.pop("iss", None)
        self.word(answer)
        worded = urlunsplit(parts._replace(query=urlencode(answer, doseq=True)))
        response: HttpResponse = super().redirect(worded, application)
        return response

    def word(self, answer: dict[str, list[str]]) -> None:
        """Put what goes back to the site into the provider's words."""

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        texts = self.dialect.scopes
        context |= {
            "dialect": self.dialect,
            "page": self.page,
            "choosing": self.choosing,
            "nothing_chosen": "nothing_chosen" in self.request.GET,
            "asked": [(name, texts[name]) for name in context.get("scopes", [])],
        }
        response: HttpResponse = super().render_to_response(context, **kwargs)
        return response
