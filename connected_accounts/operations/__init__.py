"""Looking after a running site: health, keys, backups, retention, notices and export."""
