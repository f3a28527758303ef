"""What an app adds to ``django.setup()``: time and memory, each in fresh processes."""

import compileall
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from bench import harness
from bench.harness import RUNS, Figures, Goal

NOTHING, OURS, ALLAUTH, SOCIAL = "without", "ours", "allauth", "social-auth"
APPS = {
    NOTHING: [],
    OURS: ["connected_accounts"],
    ALLAUTH: [
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
        "allauth.socialaccount.providers.gitea",
    ],
    SOCIAL: ["social_django"],
}
URLS = {OURS: "connected_accounts.urls", ALLAUTH: "allauth.urls", SOCIAL: "social_django.urls"}
BASE = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
CODE = """
import gc, json, resource, sys, time
from django.conf import settings
apps, urls, known = json.loads(sys.argv[1])
settings.configure(
    SECRET_KEY="x", INSTALLED_APPS=apps, ROOT_URLCONF="no", USE_TZ=True,
    FIELD_ENCRYPTION_KEY=["b25seS1mb3ItdGhlLWJlbmNobWFya3MtMDEyMzQ1Njc="],
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}},
    MIDDLEWARE=["allauth.account.middleware.AccountMiddleware"] if "allauth" in apps else [],
    CONNECTED_ACCOUNTS={"PROVIDERS": {}},
)
import django
for name in known:  # what a site without the app loads too; its models when it is set up
    try:
        __import__(name)
    except Exception:
        pass
gc.collect()
def taken():
    return time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
a = taken()
django.setup()
b = taken()
if urls:
    __import__(urls)
c = taken()
print(json.dumps([(b[0] - a[0]) * 1000, b[1], (c[0] - a[0]) * 1000, c[1]]))
print(json.dumps([name for name in sys.modules if name != "__main__"]))
"""


def run(who: str, known: Sequence[str]) -> list[str]:
    """The two lines that ``CODE`` prints, run with the contender's apps."""
    asked = json.dumps([[*APPS[who], *BASE], URLS.get(who, ""), known])
    command = [sys.executable, "-c", CODE, asked]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return ended.stdout.splitlines()


@cache
def known_modules() -> tuple[str, ...]:
    """The modules that Django and its own apps load. That takes six times as long as what is
    measured, and never as long twice."""
    return tuple(json.loads(run(NOTHING, ())[1]))


def started(who: str) -> list[float]:
    """ms and MiB after ``django.setup()``, and after the app's URLs were loaded too."""
    found: list[float] = json.loads(run(who, known_modules())[0])
    return found


def compile_all() -> None:
    """Compile all contenders, as an installer does: this tree is used in place, and was not."""
    for name in ("connected_accounts", "allauth", "social_django", "social_core"):
        found = find_spec(name)
        assert found is not None
        assert found.origin is not None
        compileall.compile_dir(Path(found.origin).parent, quiet=2, workers=1)


def measure(scale: float) -> list[Figures]:
    compile_all()
    kept: dict[str, list[list[float]]] = {}

    def starting(who: str) -> Callable[[], float]:
        def once() -> float:
            kept.setdefault(who, []).append(started(who))
            return kept[who][-1][0]

        return once

    runs = max(int(15 * scale), RUNS)
    harness.interleaved({who: starting(who) for who in APPS}, runs=runs)
    known = {who: found[1:] for who, found in kept.items()}  # the first is the warm-up

    def added(position: int) -> dict[str, list[float]]:
        floor = harness.median([found[position] for found in known[NOTHING]])
        return {
            who: [found[position] - floor for found in known[who]] for who in APPS if who != NOTHING
        }

    setup = Figures("django.setup(), added by the app", "ms of CPU", added(0))
    setup.goals = [
        Goal(OURS, ALLAUTH, "<=", 0.4, "set-up time against allauth's"),
        Goal(OURS, SOCIAL),
    ]
    memory = Figures("Memory after django.setup(), added by the app", "MiB", added(1))
    memory.goals = [Goal(OURS, ALLAUTH)]
    pages = Figures("django.setup() and the app's URLs, added", "ms of CPU", added(2))
    pages.goals = [Goal(OURS, ALLAUTH), Goal(OURS, SOCIAL)]
    pages.note = "what a web process has paid when it answers its first request"
    urls = Figures("Memory with the app's URLs, added", "MiB", added(3))
    urls.goals = [Goal(OURS, ALLAUTH)]
    return [setup, memory, pages, urls]


if __name__ == "__main__":
    harness.publish(measure)
