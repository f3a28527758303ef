"""Connect your users' accounts at OAuth 2.0 services to your Django site."""
