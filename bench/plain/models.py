"""What a site would write by hand: a row with the tokens as they came."""

from django.conf import settings
from django.db import models


class PlainAccount(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    subject = models.CharField(max_length=255, unique=True)
    access_token = models.TextField()
    refresh_token = models.TextField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.subject
