"""The pytest plugin: two fixtures, and nothing for a project that asks for neither.

pytest loads this module in every project where the package is installed, so it imports nothing of
Django and nothing of the app: each fixture does that when a test asks for it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from connected_accounts.models import ConnectedAccount
    from connected_accounts.testing.fake import FakeProvider

__all__ = ["connected_account", "fake_provider"]

# The cases are statements, and say what differs where one fails.
pytest.register_assert_rewrite("connected_accounts.testing.conformance")


@pytest.fixture
def fake_provider() -> "Iterator[Callable[..., FakeProvider]]":
    """Stand for a provider: ``fake_provider("badgr")`` is a FakeProvider, entered for this test.

    It takes FakeProvider's options. It gives the same one for the same alias.
    """
    from connected_accounts.testing.fake import FakeProvider

    made: dict[tuple[Any, ...], FakeProvider] = {}
    with ExitStack() as stack:

        def stand_for(alias: str, **options: Any) -> FakeProvider:
            key = (alias, *sorted((options.get("inputs") or {}).items()))
            if key not in made:
                made[key] = stack.enter_context(FakeProvider(alias, **options))
            elif set(options) - {"inputs"}:
                raise ValueError(f"{alias!r} is there already: change its behaviour.")
            return made[key]

        yield stand_for


@pytest.fixture
def connected_account(
    db: None, fake_provider: "Callable[..., FakeProvider]"
) -> "Callable[..., ConnectedAccount]":
    """Connect an account: ``connected_account("badgr", user)``, through the real flow.

    ``inputs`` are what the provider asks for first, such as Bime's account; ``subject``, ``label``,
    ``scopes``, ``granted``, ``account`` and ``owner`` are those of ``connect_account``.
    """
    from connected_accounts.testing.accounts import connect_account

    def connect(alias: str, user: Any, *, inputs: Any = None, **options: Any) -> "ConnectedAccount":
        fake = fake_provider(alias, **({"inputs": inputs} if inputs else {}))
        return connect_account(fake, user, **options)

    return connect
