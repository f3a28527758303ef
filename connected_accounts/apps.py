"""Registration of the app with Django.

What refreshing, withdrawing and checking need is loaded when it is used: every process that starts
would pay for it.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from connected_accounts import conf
from connected_accounts.signals import reconnect_required

# Functions of connected_accounts.checks.
CHECKS: Final = (
    *("check_settings", "check_beat", "check_interval", "check_sqlite", "check_issuers"),
    *("check_callback", "check_registration", "check_histories", "check_middleware"),
)
DEPLOY_CHECKS: Final = ("check_loopback", "check_secrets_of_the_site", "check_address")
DATABASE_CHECKS: Final = ("check_keys", "check_site", "check_storage")


class ConnectedAccountsConfig(AppConfig):
    name = "connected_accounts"
    verbose_name = _("Connected accounts")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.apps import apps
        from django.contrib.auth import get_user_model
        from django.db.models.signals import post_delete, pre_delete

        from connected_accounts.models import ConnectedAccount
        from connected_accounts.security import OneLineFilter

        _register_checks()
        # At DEBUG it logs codes, client secrets and tokens, whoever uses it. A filter holds where a
        # site's logging sets levels.
        logging.getLogger("requests_oauthlib.oauth2_session").addFilter(_no_debug)
        logging.getLogger("connected_accounts").addFilter(OneLineFilter())
        reconnect_required.connect(_mail_owner, dispatch_uid="connected_accounts")
        user_model: Any = get_user_model()._meta.concrete_model
        for model in apps.get_models():  # a deletion is told of by the proxy it went by
            # Whatever deletes an account, be it a user's deletion or the admin's, its grant must be
            # withdrawn at the provider too.
            if model._meta.concrete_model is ConnectedAccount:
                pre_delete.connect(
                    _revoke_before_delete, sender=model, dispatch_uid="connected_accounts"
                )
            elif model._meta.concrete_model is user_model:
                post_delete.connect(
                    _retire_deleted_user, sender=model, dispatch_uid="connected_accounts"
                )

    @staticmethod
    def carry_grant(account_id: int, generation: int, sealed: str) -> None:
        """Give a sealed grant to the broker, for the flows, which do not know Celery."""
        from connected_accounts.tasks import carry_grant  # loads Celery

        carry_grant(account_id, generation, sealed)


def _register_checks() -> None:
    from django.core import checks

    checks.register(_checking(CHECKS), "connected_accounts")
    checks.register(_checking(DEPLOY_CHECKS), "connected_accounts", deploy=True)
    # Without our tag: Django 6.1 gives a check that is asked for by a tag every database.
    checks.register(_checking(DATABASE_CHECKS), checks.Tags.database)


@cache  # one function for each: registered once, however often the app becomes ready
def _checking(names: tuple[str, ...]) -> Callable[..., list[Any]]:
    def run(app_configs: Any, **kwargs: Any) -> list[Any]:
        from connected_accounts import checks

        return [one for name in names for one in getattr(checks, name)(app_configs, **kwargs)]

    return run


def _revoke_before_delete(**kwargs: Any) -> None:
    from connected_accounts.revoke.disconnect import revoke_before_delete

    revoke_before_delete(**kwargs)


def _retire_deleted_user(**kwargs: Any) -> None:
    from connected_accounts.operations.ownership import retire_deleted_user

    retire_deleted_user(**kwargs)


def _no_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def _mail_owner(sender: type, account: Any, **kwargs: Any) -> None:
    if conf.get("RECONNECT_MAIL"):
        from connected_accounts.tasks import enqueue_mail  # loads Celery

        enqueue_mail(account)
