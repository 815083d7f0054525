"""When: retry schedule, destinations, the scheduler, bounces."""
