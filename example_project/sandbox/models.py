"""What the sandbox remembers besides the toolkit's tables: whose client a client is, and counts."""

from datetime import timedelta
from math import ceil
from typing import ClassVar

from django.db import models, transaction
from django.db.models import F
from django.utils import timezone

from .people import digest_of_name

LONGEST_LOCKOUT = 3600


class Registration(models.Model):
    """What the toolkit's client does not know of itself: at which provider it is registered."""

    application = models.OneToOneField("oauth2_provider.Application", on_delete=models.CASCADE)
    dialect = models.CharField(max_length=20)
    scope = models.TextField(blank=True)
    """The scopes it registered for; empty for all that the provider has."""
    refreshes = models.BooleanField(default=True)
    """Whether it is given refresh tokens."""
    secret_expires_at = models.DateTimeField(null=True)

    # Written out: mypy's plugin knows the models of the example site only.
    objects: ClassVar[models.Manager["Registration"]] = models.Manager()

    def __str__(self) -> str:
        return f"{self.application} at {self.dialect}"

    @property
    def is_dead(self) -> bool:
        return self.secret_expires_at is not None and self.secret_expires_at <= timezone.now()


class Tally(models.Model):
    """How often something happened at one provider."""

    dialect = models.CharField(max_length=20)
    event = models.CharField(max_length=40)
    count = models.PositiveIntegerField(default=0)

    objects: ClassVar[models.Manager["Tally"]] = models.Manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dialect", "event"], name="one_tally")]

    def __str__(self) -> str:
        return f"{self.dialect} {self.event}: {self.count}"

    @classmethod
    def add(cls, dialect: str, event: str) -> None:
        with transaction.atomic():
            tally, _ = cls.objects.get_or_create(dialect=dialect, event=event)
            cls.objects.filter(pk=tally.pk).update(count=F("count") + 1)


class Lockout(models.Model):
    """Badgr's token throttle: one counter for all clients behind one address.

    badgr-server 3.14.1, observed 2026: 2 seconds after the first failure, then 4, 8, up to an
    hour. A success clears it.
    """

    address = models.CharField(max_length=45, unique=True)
    failures = models.PositiveIntegerField(default=0)
    until = models.DateTimeField()

    objects: ClassVar[models.Manager["Lockout"]] = models.Manager()

    def __str__(self) -> str:
        return f"{self.address} until {self.until}"

    @classmethod
    def step_of(cls, address: str) -> int:
        """The seconds of the lock that holds an address, from its beginning (seen); 0: none."""
        lockout = cls.objects.filter(address=address, until__gt=timezone.now()).first()
        return 0 if lockout is None else cls.seconds_after(lockout.failures)

    @staticmethod
    def seconds_after(failures: int) -> int:
        return int(min(2 ** min(failures, 12), LONGEST_LOCKOUT))

    @classmethod
    def lengthen(cls, address: str) -> None:
        lockout = cls.objects.filter(address=address).first() or cls(address=address)
        lockout.failures += 1
        lockout.until = timezone.now() + timedelta(seconds=cls.seconds_after(lockout.failures))
        lockout.save()

    @classmethod
    def clear(cls, address: str) -> None:
        cls.objects.filter(address=address).delete()


class Award(models.Model):
    """A badge of Badgr that somebody was given, by e-mail address."""

    badge = models.CharField(max_length=22)
    recipient = models.CharField(max_length=254)
    narrative = models.TextField(blank=True)

    objects: ClassVar[models.Manager["Award"]] = models.Manager()

    def __str__(self) -> str:
        return f"{self.badge} of {self.recipient}"

    @property
    def entity_id(self) -> str:
        return digest_of_name("award", str(self.pk)).hex()[:22]


class Quota(models.Model):
    """How many requests came from one address to one account, since when.

    Bime's API description of 2013: 500 in 10 seconds. Here it is 10, so that a test gets there.
    """

    LIMIT: ClassVar[int] = 10
    SPAN: ClassVar[timedelta] = timedelta(seconds=10)

    name = models.CharField(max_length=80, unique=True)
    since = models.DateTimeField()
    count = models.PositiveIntegerField()

    objects: ClassVar[models.Manager["Quota"]] = models.Manager()

    def __str__(self) -> str:
        return f"{self.name}: {self.count} since {self.since}"

    @classmethod
    def seconds_to_wait(cls, name: str) -> int:
        """Count one request; 0 if it is within the limit."""
        now = timezone.now()
        with transaction.atomic():
            start = {"since": now, "count": 0}
            quota, _ = cls.objects.get_or_create(name=name, defaults=start)
            if quota.since + cls.SPAN <= now:
                quota.since, quota.count = now, 0
            quota.count += 1
            quota.save()
        left = (quota.since + cls.SPAN - now).total_seconds()
        return ceil(left) if quota.count > cls.LIMIT else 0
