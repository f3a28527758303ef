"""Play a service of the catalogue on this machine."""

from argparse import ArgumentParser
from pprint import pformat
from typing import Any

from django.core.management.base import CommandError

from connected_accounts.exceptions import ConfigurationError
from connected_accounts.management.output import PlainCommand
from connected_accounts.providers.catalogue.services import nearest, service_names


class Command(PlainCommand):
    help = (
        "Start a server that speaks as a service of the catalogue does, with its recorded answers, "
        "and print the entry of PROVIDERS that leads a site to it. It listens on 127.0.0.1 only, "
        "knows one client, and forgets everything when it ends."
    )
    requires_system_checks = ()  # settings may name the service before there is a client id

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("service", metavar="SERVICE", help="as in the catalogue: github")
        parser.add_argument("--port", type=int, default=9100, help="0 picks a free one")
        parser.add_argument(
            "--access-token-seconds", type=int, help="life of an access token; else the service's"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # The testing kit, which nothing else in the package needs.
        from connected_accounts.testing.sandbox import Sandbox

        name = options["service"]
        if name not in service_names():
            near = " or ".join(nearest(name))
            raise CommandError(f"There is no service {name!r}." + (f" Try {near}." if near else ""))
        try:
            sandbox = Sandbox(
                name,
                port=options["port"],
                access_token_seconds=options["access_token_seconds"],
                say=self.stdout.write,
            )
        except ConfigurationError as problem:
            raise CommandError(problem.message) from None
        except OSError:
            raise CommandError(f"Port {options['port']} is taken: try another --port.") from None
        self.stdout.write(f"{name} is played at {sandbox.base}/ until Ctrl-C. In PROVIDERS:\n")
        self.stdout.write(pformat({name: sandbox.entry()}, sort_dicts=False))
        self.stdout.write("Where a name or a host is asked for, enter acme.\n")
        self.stdout.flush()
        try:
            sandbox.http.serve_forever()
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        finally:
            sandbox.http.server_close()
