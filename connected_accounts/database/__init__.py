"""What the flows ask of a database beside the ORM: locks, transactions, written-out SQL."""
