"""The site's certificate as a client, for mutual TLS (RFC 8705): whether its files can be used, and
how servers are told of it."""

import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from django.utils import timezone

from connected_accounts.conf import Problem
from connected_accounts.exceptions import ConfigurationError

ENDS_SOON: Final = timedelta(days=14)


def certificate_to_register(files: tuple[str, str]) -> dict[str, str]:
    """The client metadata by which a server knows the certificate: its subject, as RFC 4514 writes
    it (RFC 8705 2.1.2). Raises ConfigurationError (``client_certificate``) where it cannot be
    read."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(Path(files[0]).read_bytes())
    except (OSError, ValueError):
        certificate = None
    if certificate is None:
        raise ConfigurationError("client_certificate", "CLIENT_CERTIFICATE cannot be read.")
    return {"tls_client_auth_subject_dn": certificate.subject.rfc4514_string()}


def certificate_problems(where: str, files: tuple[str, str]) -> Iterator[Problem]:
    """E037: the files cannot be used; W029: the certificate has ended, or ends soon."""
    from cryptography import x509  # takes a third of the time to start the app

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Without the empty password it would ask for one on the terminal.
        context.load_cert_chain(*files, password="")
        ends = x509.load_pem_x509_certificate(Path(files[0]).read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "cannot be read"
        yield Problem(
            "E037",
            f"{where}: {' and '.join(dict.fromkeys(files))}: {said}.",
            "Name PEM files that this process may read: the certificate, with those that lead to "
            "its authority after it, and its key without a password.",
        )
        return
    if ends - timezone.now() < ENDS_SOON:
        yield Problem(
            "W029",
            f"{where}: the certificate ends on {ends:%Y-%m-%d %H:%M} UTC.",
            "Have it renewed, and put the new one in its place: it is read for each connection.",
        )
