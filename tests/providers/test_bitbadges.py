from tests.providers.contract import ProviderContract
from connected_accounts.models import Outcome
from connected_accounts.exceptions import ReauthorizationRequired

class TestBitBadges(ProviderContract):
    alias = "bitbadges"
    backend = "connected_accounts.providers.bitbadges.BitBadges"
    subject = "bb1qexample0000000000000000000000000000ada"
    label = subject
    outcome_of_unknown = Outcome.ALREADY_GONE
    revoked_token = "canary-access-1"
