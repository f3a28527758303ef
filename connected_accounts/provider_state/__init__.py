"""What all workers share about a provider: pauses, outages and the rate limit."""
