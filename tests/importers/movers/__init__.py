"""Cases for a site that has the other packages installed. ``test_importing`` runs them in a process
of its own, with that site's settings."""
