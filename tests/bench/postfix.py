"""A private Postfix: its own directory, ports, queue and log, as Debian sets one up.

Nothing in /etc/postfix is read or written and no other instance is touched.  It needs
root (its master starts as root and drops privileges) and a directory that the user
``postfix`` may enter.  AUTH PLAIN is Cyrus SASL over an own password file, since that
needs no further daemon; without ``saslpasswd2`` (Debian: sasl2-bin) there is no SMTPS.
"""

import os
import shutil
import subprocess
from pathlib import Path

import measure
from cells import DEFER_DOMAIN, LOGIN, PASSWORD, SINK_DOMAIN, TIMED_DOMAIN, TLS_DOMAIN
from net import HOST, free_ports, wait_for_port
from opendkim import OpenDkim
from places import Places

_MAIN = """\
compatibility_level = 3.6
myhostname = postfix.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = {host}
inet_protocols = ipv4
queue_directory = {directory}/spool
data_directory = {directory}/data
command_directory = {commands}
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {directory}/log
maillog_file_prefixes = {directory}
biff = no
append_dot_mydomain = no
alias_maps =
alias_database =
mailbox_size_limit = 0
message_size_limit = 104857600
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_security_level = may
smtp_tls_security_level = may
smtp_tls_connection_reuse = yes
smtp_tls_session_cache_database = btree:${{data_directory}}/smtp_scache
cyrus_sasl_config_path = {directory}/sasl
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = postfix.test
smtpd_sasl_security_options = noanonymous
defer_transports = deferred
transport_maps = inline:{{ {{ {defer} = deferred: }}, {{ {sink} = smtp:[{host}]:{sink_port} }},
  {{ {timed} = smtp:[{host}]:{timed_port} }}, {{ {tls} = smtp:[{host}]:{private_port} }} }}
"""

_MASTER = """\
{host}:{plain_port} inet n - n - - smtpd
{host}:{tls_port} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsproxy unix - - n - 0 tlsproxy
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
deferred unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN
sasldb_path: {directory}/sasldb2
"""


def why_not() -> str:
    """Return why Postfix can't run here, or the empty string."""
    if not shutil.which("postfix"):
        return "postfix is not installed"
    if os.geteuid() != 0:
        return "a private Postfix needs root"
    return ""


def why_not_signing() -> str:
    """Return why Postfix can't sign here, or the empty string."""
    if not shutil.which("opendkim"):
        return "opendkim (Debian package opendkim), which signs for Postfix, is not installed"
    return why_not()


class Postfix:
    """One instance from ``start`` to ``stop``; a new directory each time, hence an empty queue."""

    name = "postfix"

    def __init__(self, places: Places, *, signing: bool = False) -> None:
        """``signing``: with an OpenDKIM of its own, whose processor time counts."""
        self._signer = OpenDkim(places) if signing else None
        self._places = places
        self._directory = Path()
        self.secure = shutil.which("saslpasswd2") is not None
        self.plain_port = self.tls_port = self.pid = 0

    def start(self) -> None:
        """Write the instance's files and start it; returns when it answers."""
        self._directory = self._places.fresh(self.name)
        self.plain_port, self.tls_port = free_ports(2)
        self._write_configuration()
        if self.secure:
            self._write_passwords()
        if self._signer:
            self._signer.start(self._directory)
        self._postfix("start")
        self.pid = int((self._directory / "spool/pid/master.pid").read_text())
        wait_for_port(self.plain_port, lambda: Path(f"/proc/{self.pid}").exists())

    def stop(self) -> None:
        """Stop it and forget its queue."""
        if self.pid:
            self._postfix("stop")
            self.pid = 0
        if self._signer:
            self._signer.stop()
        self._places.remove(self._directory)

    def peak_mb(self) -> float | None:
        """Peak memory: a dozen processes share most of theirs, so no figure is honest."""
        return None

    def cpu_ms(self) -> float:
        """Processor time of master and all that it started, and the signer's, in milliseconds."""
        return measure.cpu_ms(self.pid) + (self._signer.cpu_ms() if self._signer else 0.0)

    def _write_configuration(self) -> None:
        for name in ("spool", "data", "sasl"):
            (self._directory / name).mkdir()
        shutil.chown(self._directory / "data", "postfix")
        values = {
            "host": HOST,
            "directory": self._directory,
            "commands": self._postconf("command_directory"),
            "daemons": self._postconf("daemon_directory"),
            "certificate": self._places.certificate,
            "key": self._places.key,
            "defer": DEFER_DOMAIN,
            "sink": SINK_DOMAIN,
            "timed": TIMED_DOMAIN,
            "tls": TLS_DOMAIN,
            "private_port": self._places.private_port,
            "sink_port": self._places.sink_port,
            "timed_port": self._places.timed_port,
            "plain_port": self.plain_port,
            "tls_port": self.tls_port,
        }
        main = _MAIN.format_map(values) + (self._signer.parameters if self._signer else "")
        (self._directory / "main.cf").write_text(main)
        (self._directory / "master.cf").write_text(_MASTER.format_map(values))

    def _postconf(self, parameter: str) -> str:
        """Ask where the packager put Postfix's programs."""
        return subprocess.run(
            ["postconf", "-dh", parameter], check=True, capture_output=True, text=True
        ).stdout.strip()

    def _write_passwords(self) -> None:
        (self._directory / "sasl/smtpd.conf").write_text(_SASL.format(directory=self._directory))
        database = self._directory / "sasldb2"
        subprocess.run(
            ["saslpasswd2", "-p", "-c", "-f", database, "-u", "postfix.test", LOGIN],
            input=PASSWORD,
            check=True,
            text=True,
        )
        shutil.chown(database, "postfix")

    def _postfix(self, verb: str) -> None:
        done = subprocess.run(
            ["postfix", "-c", self._directory, verb], check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"postfix {verb}: {done.stderr.strip()[-2000:]}")
