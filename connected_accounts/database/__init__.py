"""The database beside the ORM: locks, transactions, batches, written-out SQL."""
