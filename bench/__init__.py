"""Benchmarks beside the peers: ``make bench``."""
