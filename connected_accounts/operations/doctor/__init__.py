"""The diagnosis of one provider, as check_provider prints it."""
