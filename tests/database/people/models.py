"""Users whose primary key is text, and has another collation than the database."""

from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    id = models.CharField(primary_key=True, max_length=22, db_collation="utf8mb4_bin")
    username = models.CharField(max_length=30, unique=True)

    objects: ClassVar[BaseUserManager["Person"]] = BaseUserManager()

    USERNAME_FIELD = "username"
