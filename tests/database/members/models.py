"""User models whose ``is_active`` is in the table of another model."""

from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    username = models.CharField(max_length=30, unique=True)
    is_active = models.BooleanField(default=True)

    objects: ClassVar[BaseUserManager["Person"]] = BaseUserManager()

    USERNAME_FIELD = "username"


class Member(Person):
    """By multi-table inheritance."""

    nick = models.CharField(max_length=30)


class Child(Member):
    """The same once more."""


class Coded(Person):
    """With a key of its own."""

    code = models.CharField(primary_key=True, max_length=30, default="c-1")
    person = models.OneToOneField(Person, models.CASCADE, parent_link=True)


class MemberByProxy(Member):
    class Meta:
        proxy = True
