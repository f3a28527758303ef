"""Who is in which team. The accounts of a team are not here: they carry its key."""

from django.conf import settings
from django.db import models


class Team(models.Model):
    name = models.CharField(max_length=100)
    people = models.ManyToManyField(settings.AUTH_USER_MODEL, through="Membership")

    def __str__(self) -> str:
        return self.name

    @property
    def owner_key(self) -> str:
        """What stands for this team in the rows of its accounts."""
        return f"team:{self.pk}"


class Membership(models.Model):
    """One person in one team. Who leads it connects and disconnects its accounts."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    is_lead = models.BooleanField(default=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["team", "user"], name="teams_once_in_each_team"),
        )

    def __str__(self) -> str:
        return f"{self.user} in {self.team}"
