"""The JSON API for front ends: views, what they read, what they answer, and its problems."""
