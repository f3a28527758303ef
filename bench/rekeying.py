"""``rotate_token_keys`` against what one would write at first: open, seal, ``update()``."""

import time

from bench import harness, site
from bench.harness import Figures, Goal, expect

OURS, LOOP = "rotate_token_keys", "update() loop"
KEYS = [
    "Zmlyc3Qta2V5LW9mLXRoZS1iZW5jaG1hcmtzLTAxMjM=",
    "c2Vjb25kLWtleS1vZi10aGUtYmVuY2htYXJrcy0wMTI=",
]


def measure(scale: float) -> list[Figures]:
    site.start("http://127.0.0.1:9")
    from django.conf import settings
    from django.core.management import call_command
    from django.db.models import QuerySet

    from bench import rows
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.operations.keys_in_use import count_by_key
    from connected_accounts.sealing import key_id, reseal

    plain = QuerySet(ConnectedAccount)  # ours refuses what only transitions write
    rows.delete_rows()
    count = max(int(4000 * scale), 100)
    keys = [settings.FIELD_ENCRYPTION_KEY[0], *KEYS]
    rows.make_ours(rows.make_users(count))

    def turn_keys() -> None:
        keys.insert(0, keys.pop())
        settings.FIELD_ENCRYPTION_KEY = list(keys)
        rows.analyze()

    def check() -> None:
        newest = key_id(keys[0])
        expect(count_by_key() == {newest: count}, "every token under the new key")
        rows.check_ours(0)

    def rotate() -> float:
        turn_keys()
        began = time.perf_counter()
        call_command("rotate_token_keys", verbosity=0)
        rate = count / (time.perf_counter() - began)
        check()
        return rate

    def loop() -> float:
        turn_keys()
        began = time.perf_counter()
        for row in ConnectedAccount.objects.with_token().iterator():
            row.token = reseal(row.token)
            plain.filter(pk=row.pk).update(token=row.token)
        rate = count / (time.perf_counter() - began)
        check()
        return rate

    runs = harness.interleaved({OURS: rotate, LOOP: loop})
    figures = Figures("Sealing with a new key", "rows per second", runs)
    figures.goals = [Goal(OURS, LOOP, ">=", 6, "rotate_token_keys against an update() loop")]
    figures.note = f"{count} rows"
    return [figures]


if __name__ == "__main__":
    harness.publish(measure)
