"""The admin: accounts, clients, records, and the site's own accounts."""

# Django loads this module to find what is registered.
from connected_accounts.admin import accounts, clients, records  # noqa: F401
