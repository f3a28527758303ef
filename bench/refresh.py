"""Refresh: throughput and CPU, against bare ``requests`` and the peers' loops."""

import itertools
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bench import harness, site, stub
from bench.harness import Figures, Goal, expect

CONCURRENCY = 64
PROVIDER_BUSY = 1 / 3  # of the time at most: the provider could answer three times as fast
OURS, BARE, SERIAL = "ours", f"bare requests, {CONCURRENCY} threads", "bare requests, serial"
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

    def ours(self) -> int:
        from connected_accounts.refresh.drain import drain

        drained = drain("gitea", seconds=600)
        expect(drained.refreshed == self.many and not drained.failed, f"ours: {drained}")
        return drained.refreshed

    def bare(self, threads: int, count: int) -> int:
        """The same requests with the same bodies; nothing is read from or put into a database."""
        session = bare_session(threads)
        url = self.provider.url + stub.TOKEN_PATH

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


def bare_session(threads: int) -> Any:
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=threads))
    return session


def at(latency: float, scale: float) -> Bench:
    from bench import rows

    with stub.running(latency) as provider:
        from django.conf import settings

        move_stub(settings, provider.url)
        bench = Bench(provider, latency, scale)
        rows.delete_rows()
        users = rows.make_users(bench.many)
        rows.make_ours(users)
        rows.make_social(users)
        rows.make_plain(users)

        def ours() -> float:
            rows.make_due()
            rows.analyze()
            figure = bench.run(OURS, bench.ours)()
            bench.rounds += 1
            rows.check_ours(bench.rounds)
            return figure

        serial = bench.few if latency else bench.many
        contenders = {
            BARE: bench.run(BARE, lambda: bench.bare(CONCURRENCY, bench.many)),
            OURS: ours,
            OAUTHLIB: bench.run(OAUTHLIB, bench.oauthlib_loop),
            SOCIAL: bench.run(SOCIAL, bench.social_loop),
            SERIAL: bench.run(SERIAL, lambda: bench.bare(1, serial)),
        }
        harness.interleaved(contenders)
        rows.check_social(bench.social)
        rows.check_plain(bench.plain)
    return bench


def move_stub(settings: Any, url: str) -> None:
    """Point everybody to a stub that was started after Django."""
    settings.SOCIAL_AUTH_GITEA_API_URL = url
    options = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["gitea"]["OPTIONS"]
    options["token_endpoint"] = url + stub.TOKEN_PATH
    options["authorization_endpoint"] = f"{url}/login/oauth/authorize"
    options["userinfo_endpoint"] = url + stub.USER_PATH


def tables(bench: Bench) -> list[Figures]:
    ms = int(bench.latency * 1000)
    taken = {who: found[1:] for who, found in bench.taken.items()}  # the first is the warm-up
    rate = Figures(
        f"Refresh, {ms} ms latency",
        "accounts per second",
        {who: [one.done / one.wall for one in found] for who, found in taken.items()},
        note=f"{CONCURRENCY} in flight, one process; {bench.many} accounts, {bench.few} in a loop",
    )
    cpu = Figures(
        f"CPU per refresh, {ms} ms latency",
        "ms of the process's CPU",
        {who: [one.cpu * 1000 / one.done for one in found] for who, found in taken.items()},
    )
    database = Figures(
        f"Database's CPU per refresh, {ms} ms latency",
        "ms of the backend's CPU",
        {
            who: [one.database * 1000 / one.done for one in taken[who]]
            for who in (OURS, OAUTHLIB, SOCIAL)
        },
    )
    if ms:
        rate.goals = [
            Goal(OURS, BARE, ">=", 0.93, f"refresh at {ms} ms against bare requests"),
            Goal(OURS, SOCIAL, ">=", 50, f"refresh at {ms} ms against social-auth's loop"),
        ]
        cpu.goals = [Goal(OURS, BARE)]
    else:
        rate.goals = [Goal(OURS, BARE), Goal(OURS, OAUTHLIB), Goal(OURS, SOCIAL)]
        cpu.goals = [
            Goal(OURS, SERIAL, "<=", 2.1, "CPU per refresh against a bare Session.post"),
            Goal(OURS, BARE),
            Goal(OURS, SOCIAL),
        ]
    return [rate, cpu, database]


def measure(scale: float) -> list[Figures]:
    site.start("http://127.0.0.1:9", concurrency=CONCURRENCY)
    return [table for latency in (0.1, 0.0) for table in tables(at(latency, scale))]


if __name__ == "__main__":
    harness.publish(measure)
