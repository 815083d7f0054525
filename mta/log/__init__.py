"""One event, two renderings: Postfix-shaped lines for people, JSON lines for programs."""
