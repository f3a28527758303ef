"""The package as it is shipped: built, looked into, and used where the source is out of reach.

``python -m tests.wheel`` does on each database what a site does first; tox does it with each Python
and Django too.
"""
