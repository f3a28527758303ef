"""Authorization servers to practise on: they speak the dialects of Badgr and of BitBadges.

A Django project of its own, built on django-oauth-toolkit, which makes every decision about
codes, clients and tokens. The code here only translates requests and answers between the
toolkit and the spelling of each provider. It shares no settings, database or cookie with the
example site. Start it with ``python -m example_project.sandbox``.
"""
