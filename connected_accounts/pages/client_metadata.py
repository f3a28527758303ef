"""The site's description of itself as a client, which authorization servers read at its address."""

from contextlib import suppress

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.cache import cache_control

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.web import actions, browser


@method_decorator(login_not_required, name="dispatch")
class ClientMetadataView(View):
    """The client metadata of one alias as JSON: public, and nothing secret is in it
    (draft-ietf-oauth-client-id-metadata-document-00). Raises Http404 where it has none."""

    @method_decorator(cache_control(public=True, max_age=3600))
    def get(self, request: HttpRequest, provider: str) -> HttpResponse:
        found = actions.find_provider(provider)
        document = None
        with suppress(ConfigurationError):
            browser.refuse_to_register(request)
            document = found.client_metadata(browser.redirect_uri(request, provider))
        if document is None:
            raise Http404(_("There is no such service here."))
        return JsonResponse(document)
