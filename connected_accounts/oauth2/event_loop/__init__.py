"""Many requests under way in one thread: an answer is read as its bytes arrive."""
