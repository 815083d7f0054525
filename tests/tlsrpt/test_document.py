"""The report has the form of RFC 8460 §4.4; the example of its appendix B can be made."""

import gzip
import json
from dataclasses import replace

from mta.mail.security import Result
from mta.mail.tls_session import AppliedPolicy, PolicyType, TlsSession
from mta.spool.tls_sessions import Counted
from mta.tlsrpt.document import Author, compressed, document, file_name

AUTHOR = Author("Company-X", "sts-reporting@company-x.example")
DAY = 16_892  # 2016-04-01
STS = AppliedPolicy(
    PolicyType.STS,
    "company-y.example",
    ("version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"),
    ("*.mail.company-y.example",),
)
SESSION = TlsSession("company-y.example", STS)

EXPECTED = {
    "organization-name": "Company-X",
    "date-range": {
        "start-datetime": "2016-04-01T00:00:00Z",
        "end-datetime": "2016-04-01T23:59:59Z",
    },
    "contact-info": "sts-reporting@company-x.example",
    "report-id": "5065427c@company-x.example",
    "policies": [
        {
            "policy": {
                "policy-type": "sts",
                "policy-string": [
                    "version: STSv1",
                    "mode: testing",
                    "mx: *.mail.company-y.example",
                    "max_age: 86400",
                ],
                "policy-domain": "company-y.example",
                "mx-host": ["*.mail.company-y.example"],
            },
            "summary": {
                "total-successful-session-count": 5326,
                "total-failure-session-count": 303,
            },
            "failure-details": [
                {
                    "result-type": "starttls-not-supported",
                    "sending-mta-ip": "2001:db8:abcd:13::1",
                    "receiving-mx-hostname": "mx2.mail.company-y.example",
                    "receiving-ip": "203.0.113.56",
                    "failed-session-count": 200,
                },
                {
                    "result-type": "certificate-expired",
                    "sending-mta-ip": "2001:db8:abcd:12::1",
                    "receiving-mx-hostname": "mx1.mail.company-y.example",
                    "failed-session-count": 100,
                },
                {
                    "result-type": "validation-failure",
                    "sending-mta-ip": "198.51.100.62",
                    "receiving-mx-hostname": "mx-backup.mail.company-y.example",
                    "receiving-ip": "203.0.113.58",
                    "failed-session-count": 3,
                    "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED",
                },
            ],
        }
    ],
}


def counted(session: TlsSession, number: int) -> Counted:
    return Counted(DAY, session, number)


def test_the_example_of_the_appendix() -> None:
    """Company-X tells Company-Y of 5326 good sessions and 303 bad ones of three kinds."""
    made = document(
        AUTHOR,
        DAY,
        "5065427c",
        [
            counted(SESSION, 5326),
            counted(
                replace(
                    SESSION,
                    result=Result.EXPIRED,
                    sending="2001:db8:abcd:12::1",
                    host="mx1.mail.company-y.example",
                ),
                100,
            ),
            counted(
                replace(
                    SESSION,
                    result=Result.STARTTLS_NOT_SUPPORTED,
                    sending="2001:db8:abcd:13::1",
                    host="mx2.mail.company-y.example",
                    address="203.0.113.56",
                ),
                200,
            ),
            counted(
                replace(
                    SESSION,
                    result=Result.VALIDATION_FAILURE,
                    sending="198.51.100.62",
                    host="mx-backup.mail.company-y.example",
                    address="203.0.113.58",
                    reason="X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED",
                ),
                3,
            ),
        ],
    )
    assert made == EXPECTED


def test_each_policy_has_an_entry_of_its_own() -> None:
    """§4: policies is an array; without failures there are no details, without a policy no text."""
    tlsa = AppliedPolicy(PolicyType.TLSA, "mx.company-y.example", ("3 1 1 1F85",))
    none = AppliedPolicy(PolicyType.NONE, "company-y.example")
    made = document(
        AUTHOR,
        DAY,
        "x",
        [counted(replace(SESSION, policy=tlsa), 2), counted(replace(SESSION, policy=none), 1)],
    )
    assert made["policies"] == [
        {
            "policy": {"policy-type": "no-policy-found", "policy-domain": "company-y.example"},
            "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
        },
        {
            "policy": {
                "policy-type": "tlsa",
                "policy-string": ["3 1 1 1F85"],
                "policy-domain": "mx.company-y.example",
            },
            "summary": {"total-successful-session-count": 2, "total-failure-session-count": 0},
        },
    ]


def test_what_was_not_told_apart_says_so() -> None:
    """Sessions beyond the bound are in the sums, and the report says that details are missing."""
    session = replace(SESSION, result=Result.EXPIRED, host="mx1.example").coarsened()
    (policy,) = document(AUTHOR, DAY, "x", [counted(session, 9)])["policies"]
    assert policy["summary"]["total-failure-session-count"] == 9
    (entry,) = policy["failure-details"]
    assert "left out" in entry.pop("failure-reason-code")
    assert entry == {"result-type": "certificate-expired", "failed-session-count": 9}


def test_the_file_is_gzip_and_the_same_for_the_same_report() -> None:
    """A report that is tried again is the same octet by octet, or it could not be recognised."""
    made = document(AUTHOR, DAY, "x", [counted(SESSION, 1)])
    octets = compressed(made)
    assert octets == compressed(json.loads(json.dumps(made)))
    assert json.loads(gzip.decompress(octets)) == made


def test_the_name_of_the_file() -> None:
    """§5.1: sender ! domain ! begin ! end ! id, of the domain of the contact."""
    assert file_name(AUTHOR, "example.net", DAY, "ab-12") == (
        "company-x.example!example.net!1459468800!1459555199!ab12.json.gz"
    )
