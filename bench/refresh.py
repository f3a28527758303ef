"""Refresh: throughput and CPU, against bare ``requests`` and the peers' loops.

``requests`` walks the whole environment at each call for proxies and netrc. As users have it that
is so; what needs nothing of a large environment is held against a session that does not look.
"""

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench import certificate, harness, site, stub
from bench.harness import Figures, Goal, expect

CONCURRENCY = 64
PROVIDER_BUSY = 1 / 3  # of the time at most: the provider could answer three times as fast
WIDE_CONCURRENCY = 512
OURS, WIDE = "ours", f"ours, {WIDE_CONCURRENCY} in flight"
BARE, SERIAL = f"bare requests, {CONCURRENCY} threads", "bare requests, serial"
LEAN = "bare requests, serial, without the environment"
OAUTHLIB, SOCIAL = "requests-oauthlib loop", "social-auth loop"


@dataclass
class Taken:
    """What one run of one contender took."""

    done: int
    wall: float
    cpu: float
    database: float = 0.0


@dataclass
class Bench:
    """The contenders, on a stub with one latency."""

    provider: stub.Running
    latency: float
    scale: float
    certificate: str = ""  # over TLS, which is held against it
    busy: bool = False  # another process takes a core for itself
    rounds: int = 0  # of all of ours
    social: Counter[str] = field(default_factory=Counter)
    plain: Counter[str] = field(default_factory=Counter)
    taken: dict[str, list[Taken]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.many = max(int((3000 if self.latency else 2000) * self.scale), 64)
        self.few = max(int((25 if self.latency else 500) * self.scale), 10)
        self.turn = itertools.count()

    def run(self, who: str, work: Callable[[], int]) -> Callable[[], float]:
        """A contender: ``work`` returns how many it refreshed, and the stub must agree."""

        def once() -> float:
            from django.db import connection

            connection.ensure_connection()
            backend = connection.connection.info.backend_pid
            served, database = self.provider.served(), harness.process_cpu(backend)
            provider = harness.process_cpu(self.provider.pid)
            wall, cpu = time.perf_counter(), time.process_time()
            done = work()
            found = Taken(done, time.perf_counter() - wall, time.process_time() - cpu)
            found.database = harness.process_cpu(backend) - database
            busy = harness.process_cpu(self.provider.pid) - provider - harness.ROUNDED
            share = busy / found.wall
            expect(share <= PROVIDER_BUSY, f"{who}: the provider was busy {share:.0%} of the time")
            expect(self.provider.served() - served == done, f"{who}: one request each")
            self.taken.setdefault(who, []).append(found)
            return done / found.wall

        return once

    @property
    def url(self) -> str:
        return self.provider.secure_url if self.certificate else self.provider.url

    def ours(self, width: int = CONCURRENCY) -> int:
        from django.conf import settings

        from connected_accounts.refresh.drain import drain

        settings.CONNECTED_ACCOUNTS["REFRESH_CONCURRENCY"] = width
        drained = drain("gitea", seconds=600)
        expect(drained.refreshed == self.many and not drained.failed, f"ours: {drained}")
        return drained.refreshed

    def bare(self, threads: int, count: int, *, environment: bool = True) -> int:
        """The same requests with the same bodies; nothing is read from or put into a database."""
        session = bare_session(threads, environment=environment)
        session.verify = self.certificate or True
        url = self.url + stub.TOKEN_PATH

        def one(number: int) -> bool:
            answer = session.post(url, data=body(number), timeout=10)
            answer.raise_for_status()
            return bool(answer.json()["access_token"] == stub.token("a", number, 1))

        if threads == 1:
            good = [one(number) for number in range(count)]
        else:
            with ThreadPoolExecutor(threads) as pool:
                good = list(pool.map(one, range(count)))
        session.close()
        expect(all(good), "bare requests: the answers")
        return count

    def oauthlib_loop(self) -> int:
        """requests-oauthlib as its documentation shows, and a save."""
        from django.utils import timezone
        from requests_oauthlib import OAuth2Session

        from bench.peers_settings import CLIENT
        from bench.plain.models import PlainAccount

        secret = {"client_id": CLIENT["client_id"], "client_secret": CLIENT["secret"]}
        for row in self.some(PlainAccount.objects.order_by("pk")):
            known = {"access_token": row.access_token, "refresh_token": row.refresh_token}
            session = OAuth2Session(CLIENT["client_id"], token=known | {"token_type": "Bearer"})
            fresh = session.refresh_token(self.provider.url + stub.TOKEN_PATH, **secret)
            row.access_token, row.refresh_token = fresh["access_token"], fresh["refresh_token"]
            row.expires_at = timezone.now() + timedelta(seconds=fresh["expires_in"])
            row.save()
            self.plain[row.subject] += 1
        return self.few

    def social_loop(self) -> int:
        from social_django.models import UserSocialAuth
        from social_django.utils import load_strategy

        strategy = load_strategy()
        for row in self.some(UserSocialAuth.objects.order_by("pk")):
            row.refresh_token(strategy)
            self.social[row.uid] += 1
        return self.few

    def some(self, rows: Any) -> Any:
        first = next(self.turn) * self.few % max(self.many - self.few, 1)
        return rows[first : first + self.few]


def body(number: int) -> dict[str, str]:
    from bench.peers_settings import CLIENT

    return {
        "grant_type": "refresh_token",
        "refresh_token": stub.token("r", number, 0),
        "client_id": CLIENT["client_id"],
        "client_secret": CLIENT["secret"],
    }


def bare_session(threads: int, *, environment: bool) -> Any:
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.trust_env = environment
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=threads))
    return session


@contextmanager
def busy_core() -> Iterator[None]:
    """Another process that takes all the CPU it can get."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def at(latency: float, scale: float, *, certificate: str = "", busy: bool = False) -> Bench:
    from bench import rows

    options = ("--certificate", certificate) if certificate else ()
    with stub.running(latency, *options) as provider, busy_core() if busy else nullcontext():
        from django.conf import settings

        bench = Bench(provider, latency, scale, certificate, busy)
        move_stub(settings, bench.url)
        rows.delete_rows()
        users = rows.make_users(bench.many)
        rows.make_ours(users)
        rows.make_social(users)
        rows.make_plain(users)
        harness.interleaved(contenders(bench))
        rows.check_social(bench.social)
        rows.check_plain(bench.plain)
    return bench


def contenders(bench: Bench) -> dict[str, Callable[[], float]]:
    """Who is measured on this ground: the peers' loops only on the plainest."""
    from bench import rows

    def ours(who: str, width: int) -> Callable[[], float]:
        def once() -> float:
            rows.make_due()
            rows.analyze()
            figure = bench.run(who, lambda: bench.ours(width))()
            bench.rounds += 1
            rows.check_ours(bench.rounds)
            return figure

        return once

    found = {
        BARE: bench.run(BARE, lambda: bench.bare(CONCURRENCY, bench.many)),
        OURS: ours(OURS, CONCURRENCY),
    }
    if bench.busy:
        return found
    if bench.latency:
        found[WIDE] = ours(WIDE, WIDE_CONCURRENCY)
    serial = bench.few if bench.latency else bench.many
    found[LEAN] = bench.run(LEAN, lambda: bench.bare(1, serial, environment=False))
    found[SERIAL] = bench.run(SERIAL, lambda: bench.bare(1, serial))
    if not bench.certificate:
        found[OAUTHLIB] = bench.run(OAUTHLIB, bench.oauthlib_loop)
        found[SOCIAL] = bench.run(SOCIAL, bench.social_loop)
    return found


def move_stub(settings: Any, url: str) -> None:
    """Point everybody to a stub that was started after Django."""
    settings.SOCIAL_AUTH_GITEA_API_URL = url
    options = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["gitea"]["OPTIONS"]
    options["token_endpoint"] = url + stub.TOKEN_PATH
    options["authorization_endpoint"] = f"{url}/login/oauth/authorize"
    options["userinfo_endpoint"] = url + stub.USER_PATH


def tables(bench: Bench) -> list[Figures]:
    ms = int(bench.latency * 1000)
    where = (
        f"{ms} ms latency" + ", over TLS" * bool(bench.certificate) + ", a core busy" * bench.busy
    )
    taken = {who: found[1:] for who, found in bench.taken.items()}  # the first is the warm-up
    rate = Figures(
        f"Refresh, {where}",
        "accounts per second",
        {who: [one.done / one.wall for one in found] for who, found in taken.items()},
        note=f"{CONCURRENCY} in flight, one process; {bench.many} accounts, {bench.few} in a loop",
    )
    cpu = Figures(
        f"CPU per refresh, {where}",
        "ms of the process's CPU",
        {who: [one.cpu * 1000 / one.done for one in found] for who, found in taken.items()},
    )
    rate.goals, cpu.goals = goals(bench, where)
    if bench.certificate or bench.busy:
        return [rate, cpu]
    database = Figures(
        f"Database's CPU per refresh, {where}",
        "ms of the backend's CPU",
        {
            who: [one.database * 1000 / one.done for one in taken[who]]
            for who in (OURS, OAUTHLIB, SOCIAL)
        },
    )
    return [rate, cpu, database]


def goals(bench: Bench, where: str) -> tuple[list[Goal], list[Goal]]:
    """Of the rate and of the CPU, which is the sturdier on a machine that does other work too."""
    rate, cpu = f"refresh, {where}, against bare requests", f"CPU per refresh, {where}, against "
    if bench.busy:
        return [Goal(OURS, BARE, ">=", 1.0, rate)], [Goal(OURS, BARE, "<=", 0.6, f"{cpu}requests")]
    if bench.certificate:
        return [Goal(OURS, BARE)], [
            Goal(OURS, BARE, "<=", 0.55, f"{cpu}requests"),
            Goal(OURS, LEAN),
        ]
    if bench.latency:
        return [
            Goal(OURS, BARE, ">=", 0.93, rate),
            Goal(OURS, SOCIAL, ">=", 50, f"refresh, {where}, against social-auth's loop"),
            Goal(WIDE, OURS),
        ], [Goal(OURS, BARE, "<=", 0.6, f"{cpu}requests")]
    return [
        Goal(OURS, BARE, ">=", 1.5, rate),
        Goal(OURS, OAUTHLIB),
        Goal(OURS, SOCIAL),
    ], [
        Goal(OURS, LEAN, "<=", 0.75, f"{cpu}a bare Session.post without the environment"),
        Goal(OURS, BARE, "<=", 0.5, f"{cpu}requests"),
        Goal(OURS, SERIAL),
        Goal(OURS, SOCIAL),
    ]


def measure(scale: float) -> list[Figures]:
    site.start("http://127.0.0.1:9", concurrency=CONCURRENCY)
    with tempfile.TemporaryDirectory() as folder:
        made = str(certificate.make(Path(folder)))
        os.environ["REQUESTS_CA_BUNDLE"] = made  # who looks there trusts the stub
        grounds = [
            at(0.1, scale),
            at(0.1, scale, busy=True),
            at(0.0, scale),
            at(0.0, scale, certificate=made),
        ]
    return [table for bench in grounds for table in tables(bench)]


if __name__ == "__main__":
    harness.publish(measure)
