"""The users of the example site, each with their connections."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import User

from connected_accounts.admin.people import ConnectedAccountInline

if TYPE_CHECKING:
    UserAdmin = auth_admin.UserAdmin[User]
else:
    UserAdmin = auth_admin.UserAdmin

admin.site.unregister(User)


@admin.register(User)
class ExampleUserAdmin(UserAdmin):
    inlines = (ConnectedAccountInline,)
