"""What the crew of a site does with its accounts; see crew.py. Models are imported late."""

import hashlib
import json
import os
import time
from collections import Counter
from datetime import timedelta
from typing import Any

ALIAS = "badgr"


def seed(path: str) -> int:
    """Store the grants of a JSON file as due accounts of the site's own."""
    from django.utils import timezone

    from connected_accounts.database.functions import subject_digest
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.models.deployment import adopt_database
    from connected_accounts.owners import SITE_OWNER
    from connected_accounts.provider_state.pauses import get_or_create_state
    from connected_accounts.providers.registry import get_provider
    from connected_accounts.sealing import seal_document

    provider, now = get_provider(ALIAS), timezone.now()
    adopt_database()  # as connecting does
    get_or_create_state(ALIAS)
    rows = []
    with open(path) as file:
        grants = json.load(file)
    for number, (access_token, refresh_token) in enumerate(grants):
        document = {
            "access_token": access_token,
            "refresh_token": refresh_token,
            "id_token": None,
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token_expires_in": None,
            "redirect_uri": "http://127.0.0.1:8000/connections/badgr/callback/",
        }
        rows.append(
            ConnectedAccount(
                provider=ALIAS,
                owner_key=SITE_OWNER,
                subject=f"person-{number}",
                subject_digest=subject_digest(f"person-{number}"),
                scopes_wanted=list(provider.scopes),
                scopes_requested=list(provider.scopes),
                scopes_granted=list(provider.scopes),
                connected_at=now,
                expires_at=now,
                refresh_at=now - timedelta(seconds=1),
                client_id=provider.config.client_id,
                endpoint_fingerprint=provider.endpoints({}).token_fingerprint(),
            )
        )
        rows[-1].token = seal_document(document, rows[-1])  # type: ignore[assignment]
    ConnectedAccount.objects.bulk_create(rows, batch_size=500)
    return len(rows)


def due() -> int:
    """Make every active account due."""
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount

    past = timezone.now() - timedelta(seconds=1)
    return ConnectedAccount.objects.active().update(refresh_at=past, expires_at=past)


def rest() -> int:
    """Make no account due for an hour."""
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount

    later = timezone.now() + timedelta(hours=1)
    return ConnectedAccount.objects.active().update(refresh_at=later, expires_at=later)


def rest_settled() -> int:
    """The same for those of which no answer is outstanding; return how many are left."""
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount

    later = timezone.now() + timedelta(hours=1)
    active = ConnectedAccount.objects.active()
    settled = active.filter(attempt_started_at__isnull=True, failure_count=0)
    settled.filter(refresh_at__lt=later - timedelta(minutes=10)).update(refresh_at=later)
    return active.filter(refresh_at__lt=later - timedelta(minutes=10)).count()


def spread(hours: float) -> int:
    """Let the accounts come due one by one over so many hours from now."""
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount

    now, rows = timezone.now(), ConnectedAccount.objects.order_by("pk")
    pks = list(rows.values_list("pk", flat=True))
    for number, pk in enumerate(pks, 1):
        at = now + timedelta(hours=hours * number / len(pks))
        rows.filter(pk=pk).update(refresh_at=at, expires_at=at + timedelta(hours=1))
    return len(pks)


def pass_time(hours: float) -> int:
    """As if so many hours had passed for the accounts."""
    from django.db.models import F

    from connected_accounts.models import ConnectedAccount

    gone = timedelta(hours=hours)
    return ConnectedAccount.objects.active().update(
        refresh_at=F("refresh_at") - gone, expires_at=F("expires_at") - gone
    )


def refresh_last(count: int) -> int:
    """Refresh the accounts that come due last, by hand."""
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import refresh

    for account in ConnectedAccount.objects.active().order_by("-refresh_at")[:count]:
        refresh(account)
    return count


def disconnect_one() -> str:
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import disconnect

    revocation = disconnect(ConnectedAccount.objects.order_by("-pk")[0])
    return revocation.outcome if revocation else ""


def revocations() -> list[list[str]]:
    from connected_accounts.models import Revocation

    return [list(row) for row in Revocation.objects.values_list("outcome", "last_error")]


def backlog() -> dict[str, float]:
    """How many are due, and for how long the oldest has been."""
    from django.db.models import Min
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount

    now = timezone.now()
    due = ConnectedAccount.objects.active().filter(refresh_at__lte=now)
    oldest = due.aggregate(oldest=Min("refresh_at"))["oldest"]
    return {"due": due.count(), "seconds": (now - oldest).total_seconds() if oldest else 0.0}


def report() -> dict[str, Any]:
    """How the accounts are."""
    from django.utils import timezone

    from connected_accounts.models import ConnectedAccount

    rows = ConnectedAccount.objects.at(ALIAS)
    now = timezone.now()
    statuses = Counter(rows.values_list("status", "reason"))
    return {
        "statuses": {" ".join(filter(None, key)): count for key, count in statuses.items()},
        "leases": rows.filter(lease_until__gt=now).count(),
        "holders": rows.filter(lease_holder__isnull=False).count(),
        "unresolved": rows.filter(attempt_started_at__isnull=False).count(),
        "due": rows.active().filter(refresh_at__lte=now).count(),
        "failing": rows.filter(failure_count__gt=0).count(),
        "never_refreshed": rows.filter(refreshed_at__isnull=True).count(),
        "errors": dict(Counter(rows.exclude(last_error="").values_list("last_error", flat=True))),
    }


def use(count: int) -> dict[str, int]:
    """Call the API as so many of the active accounts, as a site would."""
    from django.conf import settings

    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import get_session

    url = f"{settings.SANDBOX_URL}/badgr/v2/users/self"
    accounts = ConnectedAccount.objects.active().order_by("subject_digest")[:count]
    answers = Counter(get_session(account).get(url).status_code for account in accounts)
    return {str(status): number for status, number in answers.items()}


def ask(processes: int) -> dict[str, Any]:
    """So many processes ask for one expired account's token at the same moment."""
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.services import get_access_token

    start_read, start_write = os.pipe()
    ready_read, ready_write = os.pipe()
    answer_read, answer_write = os.pipe()
    children = []
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            os.close(start_write)
            line = "failed"
            try:
                account = ConnectedAccount.objects.order_by("pk")[0]
                os.write(ready_write, b".")
                os.read(start_read, 1)  # ends for all at once, when the parent closes its end
                line = hashlib.sha256(get_access_token(account).encode()).hexdigest()
            except Exception as error:
                line = f"{type(error).__name__} {getattr(error, 'code', error)}"
            finally:
                os.write(answer_write, (line.replace("\n", " ")[:200] + "\n").encode())
                os._exit(0)
        children.append(pid)
    os.close(answer_write)
    os.close(start_read)
    seen = 0
    while seen < processes:
        seen += len(os.read(ready_read, processes))
    began = time.monotonic()
    os.close(start_write)
    with os.fdopen(answer_read) as answers:
        printed = answers.read().split("\n")[:-1]
    for pid in children:
        os.waitpid(pid, 0)
    row = ConnectedAccount.objects.order_by("pk").with_token()[0]
    stored = hashlib.sha256(row.open_token()["access_token"].encode()).hexdigest()
    return {
        "answers": len(printed),
        "the_stored_token": printed.count(stored),
        "others": sorted(set(printed) - {stored}),
        "seconds": round(time.monotonic() - began, 2),
    }


def send(task: str, times: int, *arguments: Any) -> int:
    """Send a task to the broker so many times."""
    from example_project.celery import app

    for _ in range(times):
        app.send_task(f"connected_accounts.{task}", arguments)
    return times


def forget() -> int:
    """Remove this site's queue from a broker that others use too."""
    from example_project.celery import app

    with app.connection_for_write() as connection:
        queue = app.amqp.queues[app.conf.task_default_queue].bind(connection.channel())
        return int(queue.delete() or 0)


def command(name: str, *arguments: str) -> str:
    """A management command, and what it printed."""
    from io import StringIO

    from django.core.management import call_command

    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


def drain(seconds: float) -> dict[str, int]:
    from connected_accounts.refresh.drain import drain as work

    drained = work(ALIAS, seconds=seconds)
    return {"refreshed": drained.refreshed, "failed": drained.failed}
