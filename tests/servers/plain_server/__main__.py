"""The command line: ``python -m tests.servers.plain_server``."""

import argparse
import io
import os
import sys


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.servers.plain_server")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--database", required=True, help="path of the SQLite file")
    parser.add_argument("--redirect-uri", required=True, action="append", help="of the client")
    parser.add_argument("--client-id", default="plain-client")
    parser.add_argument("--client-secret", default="plain-secret")
    options = parser.parse_args(arguments)
    options.clients = [(options.client_id, options.client_secret)]
    options.person = ("ada", "ada")
    return options


def prepare(options: argparse.Namespace) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.servers.plain_server.settings"
    os.environ["PLAIN_SERVER_DATABASE"] = os.path.abspath(options.database)
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from oauth2_provider.models import get_application_model

    call_command("migrate", verbosity=0, interactive=False)
    name, password = options.person
    if not get_user_model().objects.filter(username=name).exists():
        # A superuser, since only staff can sign in at the admin.
        get_user_model().objects.create_superuser(name, f"{name}@plain.example", password)
    for client_id, client_secret in options.clients:
        if get_application_model().objects.filter(client_id=client_id).exists():
            continue
        call_command(
            "createapplication",
            "confidential",
            "authorization-code",
            client_id=client_id,
            client_secret=client_secret,
            redirect_uris=" ".join(options.redirect_uri),
            name="A site",
            algorithm="RS256",
            stdout=io.StringIO(),
        )


def serve(port: int) -> None:
    from django.core.wsgi import get_wsgi_application
    from waitress.server import create_server

    server = create_server(get_wsgi_application(), host="127.0.0.1", port=port, threads=4)
    sys.stdout.write(f"ready on http://127.0.0.1:{server.effective_port}\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    options = parse_arguments(sys.argv[1:])
    prepare(options)
    serve(options.port)
