"""What check_provider finds out about a provider."""
