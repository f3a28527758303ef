"""The Celery app: ``celery -A example_project.celery worker``, and ``… beat`` beside it."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

TRANSPORT_ALIASES["folder"] = "example_project.folder_broker:Transport"

app = Celery("example_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
