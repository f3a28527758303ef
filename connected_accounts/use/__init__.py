"""Using a connection: an access token that works now, a session, and a test of both."""
