"""``import_connections`` from each of the three packages: how long, and that every token arrived.

``python -m bench.prove_import [ROWS [PACKAGE …]]``: 10,000 rows of each unless said otherwise,
written by the packages' own models, on PostgreSQL; IMPORT_KIND=mariadb or sqlite takes another.
Then the run that finds everything there, and the one that blanks the plain text. Then the same
rows once more, with a run that is killed on its way and two that go on from there at the same
time.
"""

import os
import subprocess
import sys
import time
from datetime import timedelta
from io import StringIO
from typing import Any

from bench.servers import own_database
from bench.stage import ROOT, scratch, table, tell

SOURCES = ("allauth", "social-auth", "oauth2-capture")


def main() -> None:
    if "IMPORT_DATABASE" in os.environ:
        measure(int(sys.argv[1]), sys.argv[2:])
        return
    rows, *sources = sys.argv[1:] or ["10000"]
    kind = os.environ.get("IMPORT_KIND", "postgresql")
    with scratch() as folder, own_database(kind, folder) as database:
        environ = os.environ | {"IMPORT_DATABASE": database, "DATABASE_URL": database}
        environ |= {"DJANGO_SETTINGS_MODULE": "bench.movers_settings", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-W", "ignore", "-m", "bench.prove_import", rows]
        command += sources or SOURCES
        sys.exit(subprocess.run(command, env=environ).returncode)


def measure(rows: int, sources: list[str]) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    tell(f"{connection.vendor}, {rows} rows of each, batches of 500\n")
    figures = []
    for source in sources:
        make(source, rows)
        seconds = {name: timed(source, *arguments) for name, arguments in RUNS.items()}
        check(rows)
        figures.append(
            {"package": source, "rows": rows}
            | {f"{name}, s": round(took, 1) for name, took in seconds.items()}
            | {"imported a second": round(rows / seconds["imported"])}
        )
        empty()
    table(figures)
    tell("")
    table([killed_and_twice_at_once(source, rows) for source in sources])


def killed_and_twice_at_once(source: str, rows: int) -> dict[str, Any]:
    from connected_accounts.models import ConnectedAccount, Event

    make(source, rows)
    first = start(source)
    while ConnectedAccount.objects.count() < rows // 5:
        assert first.poll() is None, "it was done before it could be killed"
        time.sleep(0.01)
    first.kill()
    first.wait()
    kept = ConnectedAccount.objects.count()
    both = [start(source), start(source)]
    assert [one.wait(600) for one in both] == [0, 0]
    both = [start(source, "--blank", "--no-input") for _ in range(2)]
    assert [one.wait(600) for one in both] == [0, 0]
    check(rows)
    events = Event.objects.count()
    empty()
    told = {"package": source, "stored before the kill": kept}
    return told | {"after two runs at once": rows, "events": events, "lost": 0, "twice": 0}


def start(source: str, *arguments: str) -> "subprocess.Popen[bytes]":
    command = ("import_connections", "--from", source, *arguments)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "django", *command], stdout=subprocess.DEVNULL
    )


RUNS = {
    "counted (--dry-run)": ("--dry-run",),
    "imported": (),
    "again": (),
    "blanked (--blank)": ("--blank", "--no-input"),
}


def timed(source: str, *arguments: str) -> float:
    from django.core.management import call_command

    out = StringIO()
    began = time.perf_counter()
    call_command("import_connections", "--from", source, *arguments, stdout=out)
    took = time.perf_counter() - began
    tell(f"{source} {' '.join(arguments)}\n{out.getvalue()}")
    return took


def make(source: str, rows: int) -> None:
    from allauth.socialaccount.models import SocialAccount, SocialToken
    from django.contrib.auth import get_user_model
    from django.utils import timezone
    from oauth2_capture.models import OAuthToken
    from social_django.models import UserSocialAuth

    from bench.stub import LIFE, token

    def bulk(model: Any, found: Any) -> list[Any]:
        return list(model.objects.bulk_create(found, batch_size=1000))

    user_model = get_user_model()
    people = bulk(user_model, (user_model(username=f"{source}-{n}") for n in range(rows)))
    now = timezone.now()
    ends = now + timedelta(seconds=LIFE)
    if source == "allauth":
        kept = [
            SocialAccount(user=user, provider="gitea", uid=str(n), extra_data={"login": f"u{n}"})
            for n, user in enumerate(people)
        ]
        made: list[Any] = [
            SocialToken(
                account=account,
                token=token("a", n, 0),
                token_secret=token("r", n, 0),
                expires_at=ends,
            )
            for n, account in enumerate(bulk(SocialAccount, kept))
        ]
    elif source == "social-auth":
        made = [
            UserSocialAuth(
                user=user,
                provider="gitea",
                uid=str(n),
                extra_data={
                    "auth_time": int(now.timestamp()),
                    "id": n,
                    "expires_in": LIFE,
                    "refresh_token": token("r", n, 0),
                    "access_token": token("a", n, 0),
                    "token_type": "Bearer",
                },
            )
            for n, user in enumerate(people)
        ]
    else:
        made = [
            OAuthToken(
                owner=user,
                provider="gitea",
                user_id=str(n),
                access_token=token("a", n, 0),
                refresh_token=token("r", n, 0),
                expires_at=ends,
                scope="read write",
                token_type="Bearer",
                name=f"u{n}",
                profile_json={"id": n},
            )
            for n, user in enumerate(people)
        ]
    bulk(type(made[0]), made)


def check(rows: int) -> None:
    """Each account holds its own two tokens, and no package holds any."""
    from allauth.socialaccount.models import SocialToken
    from oauth2_capture.models import OAuthToken
    from social_django.models import UserSocialAuth

    from bench.stub import token
    from connected_accounts.models import ConnectedAccount, Event

    found = ConnectedAccount.objects.with_token()
    assert found.count() == Event.objects.count() == rows, (found.count(), Event.objects.count())
    for row in found.iterator():
        kept = row.open_token()
        assert kept["access_token"] == token("a", row.subject, 0), row.subject
        assert kept["refresh_token"] == token("r", row.subject, 0), row.subject
    assert not SocialToken.objects.exclude(token="", token_secret="").exists()
    assert not UserSocialAuth.objects.filter(extra_data__has_key="access_token").exists()
    assert not OAuthToken.objects.exclude(access_token="", refresh_token="").exists()


def empty() -> None:
    from allauth.socialaccount.models import SocialAccount, SocialToken
    from django.contrib.auth import get_user_model
    from oauth2_capture.models import OAuthToken
    from social_django.models import UserSocialAuth

    from connected_accounts.models import ConnectedAccount, Event

    models = (SocialToken, SocialAccount, UserSocialAuth, OAuthToken, ConnectedAccount, Event)
    for model in (*models, get_user_model()):
        model.objects.all()._raw_delete("default")


if __name__ == "__main__":
    main()
