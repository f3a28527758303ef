"""The example site's own tests: what a site may test of its connections, offline."""
