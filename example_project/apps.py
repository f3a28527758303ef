"""Registration of the example site with Django."""

from django.apps import AppConfig


class ExampleProjectConfig(AppConfig):
    name = "example_project"

    def ready(self) -> None:
        # In every process that runs Django, the site's included: a shared_task sends to the app
        # that is the current one, and without this that is one of Celery's own with no broker.
        # Not in the package's __init__: the sandbox is in the same package, with other settings.
        from example_project import celery  # noqa: F401
