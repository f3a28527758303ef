"""``manage.py make_client_key``: a key for CLIENT_KEY."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from connected_accounts.management.output import PlainCommand
from connected_accounts.secret import clears_traceback_locals


class Command(PlainCommand):
    help = (
        "Makes a private key for CLIENT_KEY and prints it, as PEM; what is public of it goes to "
        "the standard error output. Nothing is stored."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--algorithm",
            default="ES256",
            help="What it will sign with: ES256 (the default), ES384, PS256, RS256, RS384, EdDSA.",
        )
        parser.add_argument("--jwk", action="store_true", help="Print a JWK in place of PEM.")

    @clears_traceback_locals  # an output that breaks has the key in its frames
    def handle(self, *args: Any, algorithm: str, jwk: bool, **options: Any) -> None:
        try:
            from connected_accounts.oauth2 import jose  # loads joserfc
        except ModuleNotFoundError:
            raise CommandError(
                "Keys need the extra: pip install 'django-connected-accounts[strong]'."
            ) from None
        if algorithm not in jose.ALGORITHMS:
            raise CommandError(f"Write one of: {', '.join(jose.ALGORITHMS)}.")
        key = jose.new_key(algorithm)
        text = key.private_jwk() if jwk else key.private_pem()
        self.stdout.write(text.reveal().strip())
        self.stderr.write(f"kid {key.kid}, for {algorithm}")
