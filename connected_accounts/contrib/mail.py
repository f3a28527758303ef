"""An e-mail to the owner of an account that must be connected again, for a site that wants it:
``reconnect_required.connect(send_reconnect_mail)``."""

from typing import Any

from connected_accounts.models import ConnectedAccount

__all__ = ["send_reconnect_mail"]


def send_reconnect_mail(
    sender: type[ConnectedAccount], account: ConnectedAccount, *, language: str = "", **kwargs: Any
) -> None:
    """Receiver of ``reconnect_required``: have a worker send the mail. The site's own accounts have
    nobody to write to.

    ``language`` is for a receiver of the site that knows which one its user reads, and calls this;
    without one the mail is in that of LANGUAGE_CODE.
    """
    if account.user_id is not None:
        from connected_accounts import tasks  # loads Celery

        # Left out where there is none: a worker of an older release takes two.
        which = (language,) if language else ()
        tasks.enqueue(tasks.mail_reconnect, account.pk, account.generation, *which)
