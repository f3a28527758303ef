"""Bits' developer page, where a signed-in person looks after their own API credentials."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.generic import TemplateView

from .credentials import find_credentials, revoke_credentials, rotate_credentials
from .dialects import BITS


class DeveloperView(LoginRequiredMixin, TemplateView):
    template_name = "sandbox/bits_developer.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        credentials = find_credentials(self.request.user)  # type: ignore[arg-type]
        return super().get_context_data(dialect=BITS, credentials=credentials, **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        if "revoke" in request.POST:
            revoke_credentials(request.user)  # type: ignore[arg-type]
        elif "rotate" in request.POST:
            rotate_credentials(request.user)  # type: ignore[arg-type]
        return HttpResponseRedirect(request.path)
