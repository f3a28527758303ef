"""CPU of a refresh by which the client proves itself with a key and the token is bound to another
(``private_key_jwt``, DPoP), beside our own with a secret and a bearer, and bare ``requests``.

The stub takes whatever is signed: what is measured is the signing.
"""

from collections.abc import Callable
from typing import Any

from bench import harness, site, stub
from bench.harness import Figures, Goal
from bench.refresh import CONCURRENCY, LEAN, SERIAL, Bench, move_stub

STRONG = "ours, private_key_jwt and DPoP"
PLAIN = "ours, a secret and a bearer"


def as_client(users: list[Any], *, strong: bool) -> None:
    """Let the site be a client of one kind or the other, with accounts of round 0 that are due."""
    from django.conf import settings

    from bench import rows
    from connected_accounts.oauth2 import dpop, jose

    entry = settings.CONNECTED_ACCOUNTS["PROVIDERS"]["gitea"]
    entry.pop("CLIENT_KEY", None)
    options = dict(entry["OPTIONS"])
    entry["OPTIONS"] = options
    options |= {"dpop": strong, "token_endpoint_auth_method": "client_secret_post"}
    if strong:
        entry["CLIENT_KEY"] = jose.new_key().private_pem().reveal()
        options["token_endpoint_auth_method"] = "private_key_jwt"
        options["client_assertion_audience"] = "token_endpoint"
    rows.delete_accounts()
    bound = (lambda: {"dpop_key": dpop.new_proof_key().reveal()}) if strong else dict
    rows.make_ours(users, more=bound)
    rows.make_due()
    rows.analyze()


def measure(scale: float) -> list[Figures]:
    site.start("http://127.0.0.1:9", concurrency=CONCURRENCY)
    from bench import rows

    with stub.running() as provider:
        from django.conf import settings

        bench = Bench(provider, 0.0, scale)
        move_stub(settings, bench.url)
        rows.delete_rows()
        users = rows.make_users(bench.many)

        def ours(who: str, strong: bool) -> Callable[[], float]:
            def once() -> float:
                as_client(users, strong=strong)
                figure = bench.run(who, bench.ours)()
                rows.check_ours(1)
                return figure

            return once

        harness.interleaved(
            {
                LEAN: bench.run(LEAN, lambda: bench.bare(1, bench.many, environment=False)),
                SERIAL: bench.run(SERIAL, lambda: bench.bare(1, bench.many)),
                PLAIN: ours(PLAIN, strong=False),
                STRONG: ours(STRONG, strong=True),
            }
        )
    taken = {who: found[1:] for who, found in bench.taken.items()}  # the first is the warm-up
    return [
        Figures(
            "CPU per refresh of a strong client, 0 ms latency",
            "ms of the process's CPU",
            {who: [one.cpu * 1000 / one.done for one in found] for who, found in taken.items()},
            [Goal(STRONG, LEAN), Goal(STRONG, SERIAL), Goal(STRONG, PLAIN)],
        )
    ]


if __name__ == "__main__":
    harness.publish(measure)
