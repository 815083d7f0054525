"""The two answers besides yes: *no* (535) and *nobody can say now* (454, RFC 4954 §4.7.2)."""


class AuthenticationFailed(Exception):
    """The credentials are not those of an account: 535 5.7.8 (RFC 4954 §6).

    The text is always the same; ``reason`` is for the log: "credentials", "disabled", "token
    expired", ...  It is ours, never the client's.
    """

    def __init__(self, reason: str = "credentials") -> None:
        super().__init__("authentication failed")
        self.reason = reason


class AuthenticationUnavailable(Exception):
    """Nobody can say now whether the credentials are right: 454 4.7.0 (RFC 4954 §4.7.2)."""
