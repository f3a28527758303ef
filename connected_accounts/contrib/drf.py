"""A permission for Django REST framework, which needs the extra ``drf``."""

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from connected_accounts.decorators import (
    choose_account,
    connect_address,
    owner_to_use,
    refuse_unless_connecting,
)
from connected_accounts.operations.site_address import public_address
from connected_accounts.providers.registry import known_provider
from connected_accounts.tokens.scopes import missing_scopes

__all__ = ["HasConnection"]


class HasConnection(BasePermission):  # type: ignore[misc]  # no types are shipped
    """Lets in whose account at the view's ``connection_provider`` has its ``connection_scopes``.

    Sets ``request.connected_account``, as ``connection_required`` does. Anybody else gets 403 and a
    body with ``code`` (``connection_required``, or ``scopes_missing`` where the person was asked
    already and granted fewer), ``missing`` and ``connect_url``: a client shows that as a link. It
    is empty on a site that has none of our pages and connects by the JSON API. Name a
    permission before it that asks for a signed-in user. A view with the method
    ``get_connection_owner`` asks for a team's account, as ``ConnectionRequiredMixin`` does.
    """

    code = "connection_required"
    message: Any = None

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Whether the view may run."""
        alias = view.connection_provider
        scopes = getattr(view, "connection_scopes", ())
        scopes = scopes.split() if isinstance(scopes, str) else scopes
        if not request.user.is_authenticated:
            return False
        meant = request.query_params.get("connection", "")
        name = getattr(view, "get_connection_owner", lambda: None)()
        owner = owner_to_use(request.user, name)
        account, newest = choose_account(owner.key, alias, scopes, meant)
        if account is not None:
            request.connected_account = account
            return True
        refuse_unless_connecting(owner)
        asked = bool(newest) and set(scopes) <= set(newest[0].scopes_wanted)
        granted = newest[0].scopes_granted if newest else []
        self.code = "scopes_missing" if asked else "connection_required"
        address = connect_address(alias, scopes, newest, owner=name)
        self.message = {
            "detail": _("A connected account with these permissions is needed."),
            "code": self.code,
            "missing": missing_scopes(known_provider(alias), scopes, granted),
            "connect_url": address and (public_address(address) or address),
        }
        return False
