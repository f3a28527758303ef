"""The state that all workers share about a provider: pauses, outages and the rate limit."""
