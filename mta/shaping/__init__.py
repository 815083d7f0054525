"""How fast: which limits hold for which site.  Pure rules, and the providers' figures as data."""
