"""Real trackers, profilers and auditors beside the app. `make tools`, in its own environment."""
