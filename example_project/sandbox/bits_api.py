"""Bits' API: whose token it is, and one call that needs a scope."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from oauth2_provider.views.mixins import OAuthLibMixin

from .bits import BitsValidator, refused
from .people import bits_customer_id, digest_of_name


class BitsResource(OAuthLibMixin, View):  # type: ignore[misc]
    """Open to a live token that has one of `any_scope`, if any is named."""

    validator_class = BitsValidator
    any_scope: tuple[str, ...] = ()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        valid, oauth_request = self.verify_request(request)
        if not valid:
            return refused("Unauthorized", 401)
        if self.any_scope and not set(self.any_scope) & set(oauth_request.scopes):
            return refused("Forbidden", 403)
        self.client = oauth_request.client
        return super().dispatch(request, *args, **kwargs)


class UserinfoView(BitsResource):
    def get(self, request: HttpRequest) -> HttpResponse:
        return JsonResponse({"customerId": bits_customer_id(self.client)})


class ApplicationsView(BitsResource):
    """Who applied. The shape is made up: the documents name the resource and do not show it."""

    any_scope = ("application", "application.read")

    def get(self, request: HttpRequest) -> HttpResponse:
        customer = bits_customer_id(self.client)
        numbers = [digest_of_name(f"application {n}", customer).hex()[:12] for n in (1, 2)]
        items = [{"id": f"bits:application::{number}", "status": "open"} for number in numbers]
        return JsonResponse({"items": items})
