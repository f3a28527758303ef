"""The Celery tasks. Arguments are ids, results are ignored; every task may run twice, late, or
beside itself. Each does its whole work in process under ``.apply()``."""

import _thread
import atexit
import logging
import mmap
import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from celery import bootsteps, current_app, shared_task
from celery.signals import worker_init, worker_process_init, worker_ready
from django.db import transaction
from django.utils import timezone
from kombu.utils.compat import detect_environment

from connected_accounts import conf
from connected_accounts.exceptions import (
    ConfigurationError,
    ConnectedAccountsError,
    ProviderUnavailable,
    Undecryptable,
)

__all__ = [
    "drain_refreshes",
    "mail_reconnect",
    "purge",
    "refresh_account",
    "refresh_due_accounts",
    "revoke_pending_tokens",
    "store_refresh",
]

logger = logging.getLogger("connected_accounts")

EXPIRES: Final = 120.0  # seconds until a drain that no worker took is dropped
DRAINS_PER_PROVIDER: Final = 2  # whatever the backlog: drains claim until nothing is due
# For a person who waits for a page: one try at the broker.
NO_PATIENCE: Final = {
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "socket_connect_timeout": 2,  # Redis
    "socket_timeout": 2,
}
# Longer than any task takes, for each ends by itself: a site's limits for all tasks (``None`` and 0
# would let them in) must not cut a drain whose answers are not stored yet.
SOFT_TIME_LIMIT: Final = 3600  # seconds
TIME_LIMIT: Final = 3900  # after the soft one, what was answered is stored
TASK_OPTIONS: Final[dict[str, Any]] = {
    "ignore_result": True,
    "serializer": "json",
    "soft_time_limit": SOFT_TIME_LIMIT,
    "time_limit": TIME_LIMIT,
}


class _Stop:
    """Whether this worker was told to stop: one byte that it shares with the processes of its pool.
    It is told, and the drains run in them. Those that are forked have the byte from it; those that
    are spawned find it in a file, which a variable of their environment names.

    Celery's own ``worker_shutting_down`` comes when the wait of ``worker_soft_shutdown_timeout`` is
    over, and not at all after ``celery control shutdown``. So the signals themselves are heard, and
    the closing of the worker.
    """

    SIGNALS: Final = ("SIGTERM", "SIGQUIT", "SIGINT")
    FILE: Final = "CONNECTED_ACCOUNTS_WORKER_STOPS"
    byte = mmap.mmap(-1, 1)

    @classmethod
    def begin(cls, sender: Any = None, **kwargs: Any) -> None:
        """In the worker itself: a byte of its own, not that of whoever started it."""
        cls.byte = mmap.mmap(-1, 1)
        with suppress(OSError):  # no folder can be written to: what is forked is told all the same
            cls._write_file()
        sender.app.steps["worker"].add(_Closing)

    @classmethod
    def _write_file(cls) -> None:
        with tempfile.NamedTemporaryFile(prefix="connected-accounts-", delete=False) as file:
            file.write(b"\0")
            file.flush()
            cls.byte = mmap.mmap(file.fileno(), 1)
        os.environ[cls.FILE] = file.name
        atexit.register(_remove, file.name, os.getpid())

    @classmethod
    def find(cls, **kwargs: Any) -> None:
        """In a process of the pool."""
        with suppress(KeyError, OSError), open(os.environ[cls.FILE], "r+b") as file:
            cls.byte = mmap.mmap(file.fileno(), 1)

    @classmethod
    def hear_signals(cls, **kwargs: Any) -> None:
        """When Celery has its own handlers; again where its consumer began anew."""
        for number in (getattr(signal, name) for name in cls.SIGNALS if hasattr(signal, name)):
            handler = signal.getsignal(number)
            if callable(handler) and not isinstance(handler, _Heard):
                with suppress(ValueError):  # a worker in a thread gets no signals
                    signal.signal(number, _Heard(handler))

    @classmethod
    def note(cls) -> None:
        cls.byte[0] = 1

    @classmethod
    def told(cls) -> bool:
        return cls.byte[0] == 1


class _Closing(bootsteps.StartStopStep):
    """A part of the worker that notes when it closes."""

    def close(self, parent: Any) -> None:
        _Stop.note()


class _Heard:
    """A signal's handler that notes it, and then does what was done before.

    Under gevent and eventlet in a green thread of its own: a signal comes amid any of them, and
    Celery's handler, which waits for the tasks, would wait for itself if that were a drain's.
    """

    def __init__(self, handler: Callable[..., Any]) -> None:
        self.handler = handler

    def __call__(self, *args: Any) -> Any:
        _Stop.note()
        if detect_environment() == "default":
            return self.handler(*args)
        return _thread.start_new_thread(self.handler, args)  # the module's is a green one then


def _remove(path: str, owner: int) -> None:
    if os.getpid() == owner:
        with suppress(OSError):
            os.remove(path)


worker_init.connect(_Stop.begin)
worker_process_init.connect(_Stop.find)
worker_ready.connect(_Stop.hear_signals)


@shared_task(bind=True, name="connected_accounts.refresh_due_accounts", **TASK_OPTIONS)
def refresh_due_accounts(self: Any) -> None:
    """Start a few drains for each provider that has accounts due."""
    from connected_accounts.refresh.due import is_due  # here: what a site starts without

    now = timezone.now()
    due = [alias for alias in in_turn(conf.provider_aliases(), now) if is_due(alias, now)]
    if self.request.is_eager or self.request.called_directly:
        for alias in due:
            drain_refreshes.apply((alias,))
        return
    # Each has its first before any has a second: providers that answer slowly fill the workers, and
    # what is sent behind their drains expires unread.
    for alias in due * DRAINS_PER_PROVIDER:
        drain_refreshes.apply_async((alias,), expires=EXPIRES)


def in_turn(aliases: list[str], now: datetime) -> list[str]:
    """The aliases, beginning with another one at each beat, and at each hour where beats are so far
    apart that their minutes come to the same."""
    moment = now.timestamp()
    first = int(moment // 60 + moment // 3600) % len(aliases) if aliases else 0
    return aliases[first:] + aliases[:first]


@shared_task(name="connected_accounts.drain_refreshes", **TASK_OPTIONS)
def drain_refreshes(provider: str) -> None:
    """Refresh what is due at one provider, for less than a minute."""
    from connected_accounts.refresh.drain import drain

    try:
        drained = drain(provider, stop=_Stop.told)
    except ConfigurationError as error:
        logger.error("cannot refresh: provider=%s code=%s", provider, error.code)
        return
    if drained.refreshed or drained.failed:
        logger.info(
            "drained: provider=%s refreshed=%d failed=%d",
            provider,
            drained.refreshed,
            drained.failed,
        )


@shared_task(name="connected_accounts.refresh_account", **TASK_OPTIONS)
def refresh_account(account_id: int) -> None:
    """Refresh one account now. Its outcome is on the account; nothing is raised for a failure."""
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.refresh.on_demand import refresh

    account = ConnectedAccount.objects.filter(pk=account_id).first()
    if account is None:
        return
    try:
        refresh(account)
    except ConnectedAccountsError as error:
        logger.info("refresh failed: account=%s code=%s", account_id, error.code)


@shared_task(name="connected_accounts.revoke_pending_tokens", **TASK_OPTIONS)
def revoke_pending_tokens() -> None:
    """Withdraw at their providers the grants that are waiting for it."""
    from connected_accounts.revoke.outbox import revoke_pending

    revoke_pending()


@shared_task(bind=True, name="connected_accounts.mail_reconnect", **TASK_OPTIONS)
def mail_reconnect(self: Any, account_id: int, generation: int, language: str = "") -> None:
    """Tell an account's owner to connect it again; later, while its provider is away."""
    from connected_accounts.operations.notices import ServiceAway, mail_owner

    try:
        mail_owner(account_id, generation, language)
    except ServiceAway:
        if not self.request.is_eager:
            raise self.retry(countdown=60, max_retries=1440) from None  # a day


@shared_task(name="connected_accounts.purge", **TASK_OPTIONS)
def purge() -> None:
    """Delete what has served: old authorization requests, events and finished revocations."""
    from connected_accounts.operations.retention import purge_old

    purge_old(timezone.now(), timedelta(days=float(conf.get("EVENT_RETENTION_DAYS"))))


@shared_task(
    bind=True,
    name="connected_accounts.store_refresh",
    max_retries=None,
    **TASK_OPTIONS,
)
def store_refresh(self: Any, account_id: int, generation: int, sealed: str) -> None:
    """Store a sealed grant that could not be stored when it came; tried again until it can."""
    from connected_accounts.database.transactions import DATABASE_UNAVAILABLE
    from connected_accounts.refresh.carried_grant import store_sealed

    try:
        store_sealed(account_id, generation, sealed)
    except DATABASE_UNAVAILABLE:
        if self.request.is_eager:
            raise  # a retry would be at once, and for ever
        # Seconds, far below any broker's visibility timeout.
        raise self.retry(countdown=15) from None
    except (ProviderUnavailable, Undecryptable) as error:
        logger.warning("carried grant waits: account=%s code=%s", account_id, error.code)
        if not self.request.is_eager:
            raise self.retry(countdown=15) from None


def carry_grant(account_id: int, generation: int, sealed: str) -> None:
    """Give a grant that the database could not take to the broker, sealed."""
    store_refresh.apply_async((account_id, generation, sealed))


def has_celery() -> bool:
    """Whether the site has a Celery app. Where none was made, tasks belong to one that Celery makes
    for itself, by this name, and no worker hears of them."""
    return current_app.main != "default"


def enqueue_mail(account: Any, language: str = "") -> None:
    """Have the mail sent that asks an account's owner to connect it again. The site's own accounts
    have nobody to write to."""
    if account.user_id is not None:
        # Left out where there is none: a worker of an older release takes two.
        enqueue(mail_reconnect, account.pk, account.generation, *([language] if language else []))


def enqueue(task: Any, *args: Any) -> None:
    """Send a task once the transaction is committed. A broker that is away is not an error: beat's
    next round does the same work. So does the next round of ``refresh_connections`` for a site
    without Celery, but for a mail, of which no row tells: it is sent at once."""

    def send() -> None:
        at_once = current_app.conf.task_always_eager
        if not has_celery() and not at_once and task is not mail_reconnect:
            return
        try:
            if at_once or not has_celery():
                task.apply(args)
                return
            with task.app.connection_for_write(transport_options=NO_PATIENCE) as broker:
                task.apply_async(args, connection=broker, retry=False)
        except Exception as error:
            logger.warning("not sent, beat will do it: %s: %s", task.name, type(error).__name__)

    transaction.on_commit(send)
