"""The means besides a secret by which the site proves that it is a client: keys, certificate."""
