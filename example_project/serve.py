"""``python -m example_project.serve``: the site in one process, with its database made ready first.

For the demo. It listens on the socket that the starter bound and passes on as ``--fd``: the sandbox
must know the site's address before the site starts, and nobody can take the port in between.
"""

import argparse
import os
import signal
import socket
import sys
from types import FrameType

# Made for the demo on your own machine; an existing user is left as it is.
PEOPLE = {"demo": "demo", "admin": "admin"}
STAFF = {"admin"}


def prepare_database() -> None:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model().objects
    for name, password in PEOPLE.items():
        if not users.filter(username=name).exists():
            create = users.create_superuser if name in STAFF else users.create_user
            create(username=name, email=f"{name}@site.example", password=password)
    from example_project.teams.models import Membership, Team

    if not Team.objects.exists():
        team = Team.objects.create(name="Demo team")
        for user in users.filter(username__in=PEOPLE):
            Membership.objects.create(team=team, user=user, is_lead=user.username == "demo")


def stop(signal_number: int, frame: FrameType | None) -> None:
    # waitress ends its loop on SystemExit and lets the requests under way finish.
    raise SystemExit(0)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m example_project.serve", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="a socket that listens")
    options = parser.parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    signal.signal(signal.SIGTERM, stop)

    from waitress.server import create_server

    from example_project.wsgi import application  # sets Django up

    prepare_database()
    listening = socket.socket(fileno=options.fd)
    server = create_server(application, sockets=[listening], threads=8, ident=None)
    host, port = listening.getsockname()[:2]
    sys.stdout.write(f"site ready on http://{host}:{port}\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    main(sys.argv[1:])
