"""The client credentials of a connection: from settings, admin, registration or a person."""
