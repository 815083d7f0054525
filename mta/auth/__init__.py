"""Who are they: accounts, stored keys, credential checks."""
