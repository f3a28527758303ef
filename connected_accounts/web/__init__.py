"""What every door shares: actions, cards, words for failures, the browser's cookie, forms."""
