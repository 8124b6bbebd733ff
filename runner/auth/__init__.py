"""Login without a person: one-time codes, sessions, the token store."""
