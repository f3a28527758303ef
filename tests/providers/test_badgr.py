from tests.providers.contract import ProviderContract
from connected_accounts.models import Outcome
from connected_accounts.exceptions import ReauthorizationRequired

class TestBadgr(ProviderContract):
    alias = "badgr"
    backend = "connected_accounts.providers.badgr.Badgr"
    subject = "tr9sKqDVQ2mHqvW1aGzC7g"
    label = "ada@example.org"
    throttled_for = 512
    error_in_success = ReauthorizationRequired
    outcome_of_unknown = Outcome.REVOKED
