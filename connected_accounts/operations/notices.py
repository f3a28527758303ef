"""Telling people, outside the site, that an account needs them."""

import logging
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.core.cache import cache
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils import translation

from connected_accounts import conf
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.models import ConnectedAccount, Reason
from connected_accounts.operations.site_address import public_address
from connected_accounts.provider_state import pauses
from connected_accounts.providers.registry import get_provider

logger = logging.getLogger("connected_accounts")

ONCE_IN: Final = timedelta(days=7)  # a task may run twice; an incident is told of once
FOLDER: Final = "connected_accounts/mail"


class ServiceAway(Exception):
    """The provider answers nobody: its page would not open either."""


def mail_owner(account_id: int, generation: int, language: str = "") -> bool:
    """Write to an account's owner, if it still needs to be connected again; return whether it was
    done. ``generation`` is the account's at the time: another one is another incident. A
    ``language`` that the site does not have, or none, is that of LANGUAGE_CODE.

    Raises ServiceAway while the provider answers nobody.
    """
    rows = ConnectedAccount.objects.select_related("user").filter(pk=account_id)
    account = rows.filter(generation=generation).first()
    if account is None or account.user is None or not account.needs_reconnect:
        return False  # connected again, or disconnected, meanwhile
    address = address_of(account.user)
    if not address:
        return False
    if not conf.get("REDIRECT_BASE_URL"):
        logger.error("no mail: REDIRECT_BASE_URL is not set, and the mail must have a link")
        return False
    if (account.provider, account.host) in pauses.hosts_in_outage():
        raise ServiceAway
    once = f"connected_accounts.mailed.{account_id}.{generation}"
    if not cache.add(once, True, timeout=ONCE_IN.total_seconds()):
        return False
    try:
        with translation.override(_known(language)):
            message = _message(account, address)
        message.send()
    except Exception:
        cache.delete(once)
        raise
    return True


def address_of(user: Any) -> str:
    """Where a user is written to; empty for one who is deactivated, or has no address."""
    return str(getattr(user, user.get_email_field_name(), "") or "") if user.is_active else ""


def _known(language: str) -> str:
    try:
        return translation.get_supported_language_variant(language)
    except LookupError:
        return str(settings.LANGUAGE_CODE)


def _message(account: ConnectedAccount, address: str) -> EmailMultiAlternatives:
    try:
        provider_name = get_provider(account.provider).name
    except ConfigurationError:
        provider_name = account.provider
    context = {
        "user": account.user,
        "service": provider_name,
        "label": account.display_name,
        "why": Reason(account.reason).label if account.reason in Reason else "",
        "link": _address("reconnect", account.pk),
        "list": _address("list"),
    }
    subject = " ".join(render_to_string(f"{FOLDER}/reconnect_subject.txt", context).split())
    message = EmailMultiAlternatives(
        subject, render_to_string(f"{FOLDER}/reconnect.txt", context), to=[address]
    )
    html = render_to_string(f"{FOLDER}/reconnect.html", context)
    message.attach_alternative(html, "text/html")
    return message


def _address(page: str, *args: Any) -> str:
    """A page of ours; the site's first one where it connects by the JSON API alone."""
    try:
        path = reverse(f"connected_accounts:{page}", args=args)
    except NoReverseMatch:
        path = get_script_prefix()
    return public_address(path)
