"""Registration of the app with Django."""

import logging
from typing import Any

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from connected_accounts import conf
from connected_accounts.signals import reconnect_required


class ConnectedAccountsConfig(AppConfig):
    name = "connected_accounts"
    verbose_name = _("Connected accounts")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.apps import apps
        from django.contrib.auth import get_user_model
        from django.db.models.signals import post_delete, pre_delete

        from connected_accounts import checks
        from connected_accounts.models import ConnectedAccount
        from connected_accounts.operations.ownership import retire_deleted_user
        from connected_accounts.refresh import storage
        from connected_accounts.revoke.disconnect import revoke_before_delete
        from connected_accounts.security import OneLineFilter

        checks.register()
        # At DEBUG it logs codes, client secrets and tokens, whoever uses it. A filter holds where a
        # site's logging sets levels.
        logging.getLogger("requests_oauthlib.oauth2_session").addFilter(_no_debug)
        logging.getLogger("connected_accounts").addFilter(OneLineFilter())
        storage.send_to_broker = _carry_grant
        reconnect_required.connect(_mail_owner, dispatch_uid="connected_accounts")
        # Whatever deletes an account, be it a user's deletion or the admin's, its grant must be
        # withdrawn at the provider too.
        pre_delete.connect(
            revoke_before_delete, sender=ConnectedAccount, dispatch_uid="connected_accounts"
        )
        user_model = get_user_model()
        for model in apps.get_models():
            if model._meta.concrete_model is user_model:  # its proxies too
                post_delete.connect(
                    retire_deleted_user, sender=model, dispatch_uid="connected_accounts"
                )


def _no_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def _carry_grant(account_id: int, generation: int, sealed: str) -> None:
    from connected_accounts.tasks import carry_grant  # loads Celery

    carry_grant(account_id, generation, sealed)


def _mail_owner(sender: type, account: Any, **kwargs: Any) -> None:
    if conf.get("RECONNECT_MAIL"):
        from connected_accounts.tasks import enqueue_mail  # loads Celery

        enqueue_mail(account)
