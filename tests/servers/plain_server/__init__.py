"""An authorization server that none of our code is in: django-oauth-toolkit, as it comes.

A Django project with the toolkit's own addresses under ``/o/``, its documented OIDC settings, its
consent page, and Django's admin to sign in. What works against it does not work by our doing.
"""
