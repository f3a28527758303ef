"""``python -m bench.fuzz_callbacks [INPUTS]``: junk for the callback, and how it was answered.

Prints the inputs sent, the answers by status, and the 500s, which must be none.
``--seed N`` repeats a run.
"""

import argparse
import logging
import os
import sys
import time
import warnings
from collections import Counter
from typing import Any


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz_callbacks")
    parser.add_argument("inputs", nargs="?", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args(arguments)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.conf import settings
    from django.test.utils import get_runner, override_settings

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    runner = get_runner(settings)(verbosity=0, interactive=False)
    old = runner.setup_databases()
    no_cache = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    try:
        with override_settings(CACHES=no_cache):  # else all but sixty would be 429
            return fuzz(options.inputs, options.seed)
    finally:
        runner.teardown_databases(old)


def fuzz(count: int, number: int) -> int:
    import hypothesis
    from django.contrib.auth import get_user_model

    from connected_accounts.models import ConnectedAccount
    from connected_accounts.testing import FakeProvider
    from tests.journeys import finish, query_of, start
    from tests.junk import Flow, inputs, send
    from tests.people import Browser

    seen: Counter[int] = Counter()
    failed: list[Any] = []
    with FakeProvider("badgr") as badgr:
        browser = Browser(get_user_model().objects.create_user("ada"))
        url = start(browser)
        session = browser.cookies["sessionid"].value
        cookie = browser.cookies["connected_accounts_token"].value
        flow = Flow(session, query_of(url)["state"], cookie)

        @hypothesis.seed(number)
        @hypothesis.settings(
            max_examples=count,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(inputs(flow))
        def run(junk: Any) -> None:
            if sum(seen.values()) < count and send(browser, junk, seen) == 500:
                failed.append(junk)

        began = time.monotonic()
        run()
        took = time.monotonic() - began
        # The right one still works, unless the junk spent it by being right.
        params = badgr.authorize(start(browser), subject="ada")
        assert finish(browser, params).status_code == 303
        exchanges = len(badgr.sent_to("token"))
    sent = sum(seen.values())
    out = sys.stdout.write
    out(f"seed {number}: {sent} inputs in {took:.0f} s ({sent / took:.0f} a second)\n")
    out("".join(f"  status {status}: {times}\n" for status, times in sorted(seen.items())))
    out(f"  token requests: {exchanges}, accounts: {ConnectedAccount.objects.count()}\n")
    out(f"  500s: {len(failed)}\n")
    out("".join(f"    {junk!r}\n" for junk in failed[:20]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
