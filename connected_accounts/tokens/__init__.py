"""Token answers: the endpoint, how long tokens live, and whose they are. Network only."""
