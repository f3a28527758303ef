"""Cases for a site that keeps histories of its accounts. ``test_histories`` runs them in a process
of its own, with that site's settings."""
