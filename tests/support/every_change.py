#!/usr/bin/python3
"""A filter on libmilter that does what the field X-Do of a message says.

Run with Debian's python3 and its package python3-milter: ``every_change.py SOCKET LOG``.  Writes
a line of JSON about each message to LOG.
"""

import json
import sys
from pathlib import Path

import Milter


class EveryChange(Milter.Base):
    """One connection."""

    def connect(self, name, family, address):
        self.heard = {"connect": [name, address[0] if address else None]}
        return Milter.CONTINUE

    def hello(self, name):
        self.heard["helo"] = name
        return Milter.CONTINUE

    def envfrom(self, sender, *parameters):
        self.heard |= {"from": [sender, *parameters], "to": [], "headers": [], "body": 0}
        self.heard["macros"] = {
            name: self.getsymval(name)
            for name in (
                "i", "j", "_", "v", "{daemon_name}", "{client_addr}", "{client_name}",
                "{client_port}", "{tls_version}", "{cipher}", "{auth_authen}", "{auth_type}",
                "{mail_addr}", "{mail_host}",
            )
        }  # fmt: skip
        self.chunks = []
        self.do = ""
        return Milter.CONTINUE

    def envrcpt(self, recipient, *parameters):
        self.heard["to"].append([recipient, *parameters])
        if recipient.startswith("<refused@"):
            self.setreply("550", "5.1.1", "Nobody here", "of that name")
            return Milter.REJECT
        return Milter.CONTINUE

    def data(self):
        return Milter.CONTINUE

    def header(self, name, value):
        self.heard["headers"].append([name, value])
        if name == "X-Do":
            self.do = value.strip()
        return Milter.CONTINUE

    def eoh(self):
        return Milter.REJECT if self.do == "reject-at-header" else Milter.CONTINUE

    def body(self, chunk):
        self.heard["body"] += len(chunk)
        self.chunks.append(chunk)
        return Milter.CONTINUE

    def abort(self):
        self.write({"aborted": True})
        return Milter.CONTINUE

    def eom(self):
        self.write(self.heard)
        self.progress()
        return getattr(self, "do_" + self.do.replace("-", "_"), lambda: Milter.CONTINUE)()

    def write(self, what):
        with Path(sys.argv[2]).open("a", encoding="utf-8") as log:
            log.write(json.dumps(what) + "\n")

    def do_everything(self):
        self.addheader("X-Added", "last")
        self.addheader("X-Inserted", "on top\n\tof the others", 1)
        self.chgheader("Subject", 1, "changed")
        self.chgheader("X-Gone", 1, "")
        self.addrcpt("<added@there.test>")
        self.addrcpt("<quiet@there.test>", "NOTIFY=NEVER")
        self.delrcpt("<removed@there.test>")
        self.chgfrom("<changed@home.test>", "RET=HDRS")
        self.replacebody(b"The body\nof the filter.\n")
        return Milter.ACCEPT

    def do_replace_large(self):
        for _ in range(20):
            self.replacebody((b"0123456789" * 90 + b"\r\n") * 50)
        return Milter.CONTINUE

    def do_shout(self):
        self.replacebody(b"".join(self.chunks).upper())
        return Milter.CONTINUE

    def do_quarantine(self):
        self.quarantine("smells of spam")
        return Milter.CONTINUE

    def do_discard(self):
        return Milter.DISCARD

    def do_reject(self):
        self.setreply("554", "5.7.1", "Not", "this one")
        return Milter.REJECT

    def do_tempfail(self):
        return Milter.TEMPFAIL


Milter.factory = EveryChange
Milter.set_flags(
    Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.ADDRCPT | Milter.ADDRCPT_PAR
    | Milter.DELRCPT | Milter.CHGFROM | Milter.QUARANTINE
)  # fmt: skip
Milter.runmilter("every-change", sys.argv[1], 60)
