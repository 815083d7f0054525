"""May they?  Pure decisions about senders, amounts, recipients, log-ins; what to hold."""
