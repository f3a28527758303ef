"""Which client credentials serve a connection: from settings, admin, registration or a person."""
