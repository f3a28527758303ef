"""Clients that prove who they are: by a key, by a pushed request, by a certificate."""
