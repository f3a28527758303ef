"""The quickstart page, followed word for word: ``python -m tests.quickstart``."""
