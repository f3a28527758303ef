"""User models whose ``is_active`` is in the table of another model, and some whose key is not in
Python what it is in the database."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models

if TYPE_CHECKING:
    _BigAutoField = models.BigAutoField[Any, Any]
else:
    _BigAutoField = models.BigAutoField


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


class Named(AbstractBaseUser):
    """By a text, which may be given as a number."""

    id = models.CharField(primary_key=True, max_length=30, default="1")
    username = models.CharField(max_length=30, unique=True)
    is_active = models.BooleanField(default=True)

    objects: ClassVar[BaseUserManager["Named"]] = BaseUserManager()

    USERNAME_FIELD = "username"


class PublicKey(_BigAutoField):
    """``u-7`` for 7."""

    def from_db_value(self, value: int | None, *args: Any) -> str | None:
        return None if value is None else f"u-{value}"

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> int | None:
        return None if value is None else int(str(value).removeprefix("u-"))


class Public(AbstractBaseUser):
    id = PublicKey(primary_key=True)
    username = models.CharField(max_length=30, unique=True)
    is_active = models.BooleanField(default=True)

    objects: ClassVar[BaseUserManager["Public"]] = BaseUserManager()

    USERNAME_FIELD = "username"
