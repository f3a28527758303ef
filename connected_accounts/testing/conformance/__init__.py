"""The cases that every provider must pass, for authors of a provider.

For each grant type that the provider is used with, derive one class from that grant's contract and
from either RevocationCases or NoRevocationCases, and say whose answers are recorded::

    class TestMedals(CodeContract, RevocationCases):
        alias = "medals"
        backend = "yoursite.providers.Medals"
        subject = "123"
        label = "ada@example.org"
        outcome_of_unknown = Outcome.REVOKED

A class that deletes, replaces or skips a case cannot be defined.
"""

from connected_accounts.testing.conformance.contract import (
    CONTRACTS,
    ClientCredentialsContract,
    CodeContract,
    PersonalTokenContract,
    ProviderContract,
)
from connected_accounts.testing.conformance.harness import Harness, assert_hidden
from connected_accounts.testing.conformance.revocation import NoRevocationCases, RevocationCases

__all__ = [
    "CONTRACTS",
    "ClientCredentialsContract",
    "CodeContract",
    "Harness",
    "NoRevocationCases",
    "PersonalTokenContract",
    "ProviderContract",
    "RevocationCases",
    "assert_hidden",
]
