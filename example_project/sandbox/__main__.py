"""The command line: ``python -m example_project.sandbox``.

Everything that settings.py needs is put into the environment before Django is set up.
"""

import argparse
import os
import signal
import sys
from types import FrameType

DEFAULT_REDIRECT_BASES = ["http://127.0.0.1:8000", "http://localhost:8000"]


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m example_project.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 picks a free one")
    parser.add_argument("--database", default="sandbox.sqlite3", help="path of the SQLite file")
    parser.add_argument(
        "--redirect-base",
        action="append",
        metavar="URL",
        help="where the client site lives; repeat it for more (default: port 8000 here)",
    )
    parser.add_argument(
        "--access-token-seconds",
        type=int,
        help="life of an access token (default: 60 at Badgr and BitBadges, else 3600 or 7200)",
    )
    parser.add_argument(
        "--refresh-token-seconds",
        type=int,
        help="life of a BitBadges refresh token (default: 30 days, 60 days once rotated)",
    )
    parser.add_argument(
        "--client-secret-seconds",
        type=int,
        help="life of a secret that a site got by registering itself (default: for ever)",
    )
    parser.add_argument(
        "--throttle",
        action="store_true",
        help="Badgr: lock an address out after invalid_grant; Bime: 10 requests in 10 seconds",
    )
    parser.add_argument(
        "--require-api-key", metavar="KEY", help="BitBadges: demand this x-api-key on API calls"
    )
    return parser.parse_args(arguments)


def export_settings(options: argparse.Namespace) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.sandbox.settings"
    os.environ["SANDBOX_HOST"] = options.host
    os.environ["SANDBOX_DATABASE"] = os.path.abspath(options.database)
    os.environ["SANDBOX_ACCESS_TOKEN_SECONDS"] = str(options.access_token_seconds or "")
    os.environ["SANDBOX_REFRESH_TOKEN_SECONDS"] = str(options.refresh_token_seconds or "")
    os.environ["SANDBOX_CLIENT_SECRET_SECONDS"] = str(options.client_secret_seconds or "")
    os.environ["SANDBOX_THROTTLE"] = "1" if options.throttle else ""
    os.environ["SANDBOX_API_KEY"] = options.require_api_key or ""


def prepare_database(redirect_bases: list[str]) -> None:
    import django

    django.setup()

    from django.core.management import call_command

    from example_project.sandbox.seed import seed

    call_command("migrate", verbosity=0, interactive=False)
    seed(redirect_bases)


def stop(signal_number: int, frame: FrameType | None) -> None:
    # waitress ends its loop on SystemExit and lets the requests under way finish.
    raise SystemExit(0)


def serve(host: str, port: int) -> None:
    from django.core.wsgi import get_wsgi_application
    from waitress.server import MultiSocketServer, create_server

    # A client may say that it is another one (X-Forwarded-For): Badgr's lock goes by that.
    told = {"clear_untrusted_proxy_headers": False, "threads": 8, "ident": None}
    server = create_server(get_wsgi_application(), host=host, port=port, **told)
    if isinstance(server, MultiSocketServer):  # a name with several addresses, such as localhost
        port = server.effective_listen[0][1]
    else:
        port = server.effective_port
    sys.stdout.write(f"sandbox ready on http://{host}:{port}\n")
    sys.stdout.flush()
    server.run()


def main(arguments: list[str]) -> int:
    options = parse_arguments(arguments)
    export_settings(options)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    prepare_database(options.redirect_base or DEFAULT_REDIRECT_BASES)
    serve(options.host, options.port)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
