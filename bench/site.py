"""The Django project of the measurements: started, and with its tables made."""

import os


def start(stub_url: str, *, concurrency: int = 64, migrate: bool = True) -> None:
    """Configure Django for a stub that runs, and make the tables where they are missing."""
    os.environ["BENCH_STUB_URL"] = stub_url
    os.environ["BENCH_CONCURRENCY"] = str(concurrency)
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.peers_settings"
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the stub is on the loopback address
    import django  # needs the variables above

    django.setup()
    if not migrate:
        return
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)  # the plain table, which needs the users'
