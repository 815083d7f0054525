"""The policy at work: the pure rules of ``mta.policy`` with counters, lists and DNS to ask."""
