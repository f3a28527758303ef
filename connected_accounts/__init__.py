"""Connect your users' accounts at OAuth 2.0 services to your Django site."""

__all__ = ["__version__"]

__version__ = "0.1.0"
