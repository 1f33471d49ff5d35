"""Where things are kept: the database, files that never change, key files, and how a ledger is rebuilt from them."""
