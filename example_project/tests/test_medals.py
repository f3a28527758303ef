"""The site's own provider does what every provider must do."""

from connected_accounts.models import Outcome
from connected_accounts.testing.conformance import CodeContract, RevocationCases
from example_project.tests.medals import MedalsDialect


class TestMedals(CodeContract, RevocationCases):
    alias = "medals"
    backend = "example_project.tests.medals.Medals"
    dialect = MedalsDialect
    subject = "4711"
    label = "ada@example.org"
    life = 3600
    outcome_of_unknown = Outcome.REVOKED
