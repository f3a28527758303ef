"""For asynchronous clients: ``httpx.AsyncClient(auth=ConnectedAccountAuth(account))``.

Needs the extra ``httpx``. As with ``get_session``, the token is that of the moment, goes to the
provider's own hosts only, and is renewed once after a 401.
"""

import httpx

from connected_accounts.contrib.account_auth import AccountAuth

__all__ = ["ConnectedAccountAuth"]


class ConnectedAccountAuth(AccountAuth, httpx.Auth):
    """Adds the account's bearer to requests to its provider, and nothing else.

    A request to any other host raises ConfigurationError and is not sent; where the provider
    redirects to another host, httpx takes the bearer away. After a 401 the token is renewed and
    the request repeated, once, unless its body is a stream. InsufficientScope is raised as by
    ``get_session``.
    """

    byte_stream = httpx.ByteStream
