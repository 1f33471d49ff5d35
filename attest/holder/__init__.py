"""The company's side: it keeps salts and keys, commits what is held and signs what is erased."""
