"""The servers that a test may use: those that the environment names, and no others.

``DATABASE_URL`` names PostgreSQL, ``MARIADB_URL`` MariaDB, ``CELERY_BROKER_URL`` Redis and
``RABBITMQ_URL`` RabbitMQ. What answers on its usual port without being named is somebody else's.
"""

import os
import socket
from urllib.parse import urlsplit

import pytest

VARIABLES = {
    "postgresql": ("DATABASE_URL", "postgres"),
    "mariadb": ("MARIADB_URL", "mysql"),
    "redis": ("CELERY_BROKER_URL", "redis"),
    "rabbitmq": ("RABBITMQ_URL", "amqp"),
}


def service(name: str) -> str:
    """The URL of a server that is named and answers, or a skip."""
    variable, scheme = VARIABLES[name]
    url = os.environ.get(variable, "")
    if not url.startswith(scheme):
        pytest.skip(f"service: {variable} names no {name}")
    parts = urlsplit(url)
    if parts.hostname is not None:
        try:
            socket.create_connection((parts.hostname, parts.port or 5432), 5).close()
        except OSError:
            pytest.skip(f"service: {name} does not answer at {parts.hostname}:{parts.port}")
    return url
