"""Shared by every door: actions, cards, words for failures, the browser's cookie, forms."""
