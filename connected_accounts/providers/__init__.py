"""One class of declared values per service. No security decision is made here."""
