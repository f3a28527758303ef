"""Teams and who is in them, for staff."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from example_project.teams.models import Membership, Team

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Team]
    Inline = admin.TabularInline[Any, Any]
else:
    ModelAdmin = admin.ModelAdmin
    Inline = admin.TabularInline


class MembershipInline(Inline):
    model = Membership
    extra = 1


@admin.register(Team)
class TeamAdmin(ModelAdmin):
    inlines = (MembershipInline,)
