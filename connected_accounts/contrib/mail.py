"""The e-mail to an owner who must connect an account again, in a language that a receiver of the
site's says. Else the setting ``RECONNECT_MAIL`` is enough."""

from typing import Any

from connected_accounts.models import ConnectedAccount

__all__ = ["send_reconnect_mail"]


def send_reconnect_mail(
    sender: type[ConnectedAccount], account: ConnectedAccount, *, language: str = "", **kwargs: Any
) -> None:
    """Receiver of ``reconnect_required``: have the mail sent. The site's own accounts have nobody
    to write to.

    ``language`` is for a receiver of the site that knows which one its user reads, and calls this;
    without one the mail is in that of LANGUAGE_CODE.
    """
    from connected_accounts.tasks import enqueue_mail  # loads Celery

    enqueue_mail(account, language)
