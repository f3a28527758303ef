"""Look at one provider: settings, addresses, TLS, clock, credentials, revocation."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from django.core import checks
from django.core.management.base import CommandError
from django.urls import NoReverseMatch

from connected_accounts import conf
from connected_accounts.connect.authorization import HOST_PLACE, callback_key
from connected_accounts.exceptions import ConfigurationError
from connected_accounts.management.arguments import pair
from connected_accounts.management.output import PlainCommand
from connected_accounts.models.deployment import sites
from connected_accounts.operations.doctor.diagnosis import diagnose
from connected_accounts.operations.doctor.findings import Finding, Level, error, ok, warning
from connected_accounts.operations.site_address import path_of, public_address
from connected_accounts.providers.registry import get_provider


class Command(PlainCommand):
    help = (
        "Check one provider from here and print what was found, one line each, with what could not "
        "be checked. Sends requests that change nothing: made-up codes and tokens, and no token of "
        "anybody's. Exits 0 where nothing is wrong, 1 where something is, 2 for wrong arguments."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("alias", metavar="ALIAS", help="as it stands in PROVIDERS")
        parser.add_argument("--json", action="store_true", help="for machines")
        parser.add_argument(
            "--input",
            action="append",
            default=[],
            type=pair,
            metavar="NAME=VALUE",
            help="what a person would enter before connecting, such as account=acme",
        )
        parser.add_argument(
            "--request-token",
            action="store_true",
            help="try client credentials by having a token issued, which is revoked if possible",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        alias = options["alias"]
        if alias not in conf.provider_aliases():
            known = ", ".join(conf.provider_aliases()) or "none"
            raise CommandError(f"Settings have no provider {alias!r}. They have: {known}.")
        inputs = dict(options["input"])
        found = [*system_findings(alias), site_finding(), redirect_finding(alias, inputs)]
        try:
            found += diagnose(
                alias,
                inputs=inputs,
                redirect_uri=redirect_uri(alias) or "",
                host_redirect_uri=redirect_uri(alias, HOST_PLACE) or "",
                request_token=options["request_token"],
            )
        except ConfigurationError as problem:
            raise CommandError(problem.message) from None
        wrong = any(finding.level is Level.ERROR for finding in found)
        if options["json"]:
            document = {
                "provider": alias,
                "ok": not wrong,
                "findings": [finding.as_dict() for finding in found],
            }
            self.stdout.write(json.dumps(document, indent=2))
        else:
            for finding in found:
                self._write(finding)
        if wrong:
            sys.exit(1)

    def _write(self, finding: Finding) -> None:
        styles = {Level.ERROR: self.style.ERROR, Level.WARNING: self.style.WARNING}
        line = f"{finding.level.value:<10}{finding.check:<24}{finding.message}"
        self.stdout.write(line, styles.get(finding.level))
        if finding.hint:
            self.stdout.write(f"{'':<34}{finding.hint}")


def system_findings(alias: str) -> Iterator[Finding]:
    """The app's system checks, without those about other providers."""
    others = [repr(name) for name in conf.provider_aliases() if name != alias]
    clean = True
    for message in checks.run_checks(tags=["connected_accounts"], include_deployment_checks=True):
        said = str(message.msg)
        if repr(alias) in said or not any(name in said for name in others):
            clean = False
            level = error if message.level >= checks.ERROR else warning
            name = str(message.id).rpartition(".")[2]
            yield level("settings", f"{said} ({name})", str(message.hint or ""))
    if clean:
        yield ok("settings", "The system checks find nothing.")


def site_finding() -> Finding:
    """Whether the database is this deployment's."""
    names = sites()
    if not names.differ:
        return ok("site", "The database is no other site's.")
    hint = "After a move, or under a new name, run manage.py confirm_site; never on a copy."
    return error("site", f"Nothing is refreshed: {names}.", hint)


def redirect_uri(alias: str, *host: str) -> str | None:
    """The callback's public address, or that of one host, as far as settings tell it; None: the
    URLs are not included."""
    try:
        return public_address(path_of("callback", alias, *host))
    except NoReverseMatch:
        return None


def redirect_finding(alias: str, inputs: Mapping[str, str]) -> Finding:
    check, host = "redirect_uri", ""
    with suppress(ConfigurationError):  # of which the system checks speak
        provider = get_provider(alias).bound(inputs=inputs)
        if provider.grant_type != "authorization_code":
            return ok(check, "Needs none: nobody is sent to the provider.")
        host = callback_key(provider.host) if provider.callback_per_host else ""
    address = redirect_uri(alias, *filter(None, [host]))
    if address is None:
        return error(
            check,
            "The app's URLs are not part of the site.",
            'Add path("connections/", include("connected_accounts.urls")) to ROOT_URLCONF.',
        )
    if not address:
        path = path_of("callback", alias)
        return warning(
            check,
            f"It depends on the request's host: https://<the public host>{path}",
            "Set CONNECTED_ACCOUNTS['REDIRECT_BASE_URL'] to the site's public address.",
        )
    return ok(check, f"Register exactly this at the provider: {address}")
