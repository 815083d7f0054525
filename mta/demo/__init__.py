"""The program at work on loopback, beside a small stand-in for the outside world."""
