"""The app's pages on an admin site of the site's own."""

from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.auth.models import User

from connected_accounts.admin.accounts import ConnectedAccountAdmin
from connected_accounts.admin.people import ConnectedAccountInline
from connected_accounts.admin.records import EventAdmin, ProviderStateAdmin, RevocationAdmin
from connected_accounts.models import ConnectedAccount, Event, ProviderState, Revocation


class People(ModelAdmin[User]):
    inlines = (ConnectedAccountInline,)


staff = AdminSite(name="staff")
staff.register(User, People)
staff.register(ConnectedAccount, ConnectedAccountAdmin)
staff.register(Event, EventAdmin)
staff.register(ProviderState, ProviderStateAdmin)
staff.register(Revocation, RevocationAdmin)
