"""The configuration that ``mta init`` writes: small, and commented for its next reader."""

import json

_TEXT = """\
# Configuration of the mail relay, written by 'mta init'.
# All keys with their defaults: mta config sample.  Is it right?  mta config check.

# Its name in SMTP, in Received fields and in reports; it should resolve to this machine.
host_name = {host_name}

# The queue.  For several processes or machines: postgresql://USER@HOST/DATABASE
[spool]
url = {url}

# Applications submit here: TLS from the first octet (RFC 8314), after logging in.
[[listener]]
name = "submissions"
endpoint = "{smtps_port}"
tls = "implicit"
auth = "required"

# The same for clients that begin in the clear and say STARTTLS.
[[listener]]
name = "submission"
endpoint = "{submission_port}"
tls = "starttls"
auth = "required"

# Made by 'mta init' and signed by itself.  Replace it by one that your clients trust;
# SIGHUP makes the service read it again.
[[certificate]]
certificate = "certificate.pem"
key = "key.pem"
"""


def configuration(host_name: str, url: str, smtps_port: int, submission_port: int) -> str:
    """Return the text of ``mta.toml``; its paths begin at its own directory."""
    return _TEXT.format(
        host_name=json.dumps(host_name),  # a JSON string is a TOML string
        url=json.dumps(url),
        smtps_port=smtps_port,
        submission_port=submission_port,
    )
