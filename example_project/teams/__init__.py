"""Teams of the example site: people who share accounts."""
