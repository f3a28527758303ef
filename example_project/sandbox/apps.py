from django.apps import AppConfig


class SandboxConfig(AppConfig):
    name = "example_project.sandbox"
    label = "sandbox"
    default_auto_field = "django.db.models.BigAutoField"
