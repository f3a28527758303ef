"""Scopes in a person's words: the texts that the catalogue's files choose from.

A scope that none of them fits has no text, and is shown under its own name. Another text is added
here, and translated with the rest.
"""

from typing import Final

from django.utils.translation import gettext_noop as _

PHRASES: Final = (
    _("Know who you are"),
    _("Post in your name"),
    _("Post in your workspace"),
    _("Read and change your accounts"),
    _("Read and change your data"),
    _("Read and change your files"),
    _("Read the answers to your forms"),
    _("Read your data"),
    _("Read your e-mail"),
    _("Read your files"),
    _("Read your posts"),
    _("See and change what you sell"),
    _("See and change your calendars"),
    _("See and change your repositories"),
    _("See and change your tasks"),
    _("See and change your works"),
    _("See how you sleep"),
    _("See the channels of your workspace"),
    _("See the name of your workspace"),
    _("See the names of your files"),
    _("See what you sell"),
    _("See who is in your courses"),
    _("See your activities"),
    _("See your calendars"),
    _("See your channel"),
    _("See your contacts"),
    _("See your courses"),
    _("See your coursework"),
    _("See your e-mail address"),
    _("See your groups"),
    _("See your meetings"),
    _("See your name"),
    _("See your name and e-mail address"),
    _("See your orders"),
    _("See your profile"),
    _("See your shop"),
    _("See your tasks"),
    _("See your tickets"),
    _("See your videos"),
    _("Stay connected while you are away"),
    _("Upload in your name"),
    _("Use your account in your name"),
)
