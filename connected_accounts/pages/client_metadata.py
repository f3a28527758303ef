"""The site as a client: its description of itself, and its keys, which servers read here."""

from contextlib import suppress

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.cache import cache_control

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.providers.client.keys import key_set, signing_keys
from connected_accounts.providers.registry import get_providers
from connected_accounts.web import actions, browser


@method_decorator(login_not_required, name="dispatch")
class KeysView(View):
    """The public halves of all keys that the site signs with as a client, for servers that verify
    what it signed (RFC 7517 5). Public; old keys stay in it for as long as settings have them."""

    @method_decorator(cache_control(public=True, max_age=300))
    def get(self, request: HttpRequest) -> HttpResponse:
        keys = [key for provider in get_providers() for key in signing_keys(provider.config)]
        return JsonResponse(key_set(keys))


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
