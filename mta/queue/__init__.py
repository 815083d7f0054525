"""When: retry schedule, sites and their ready queues, the scheduler, bounces."""
