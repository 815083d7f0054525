"""A real Dovecot in a directory of its own: LMTP in, IMAP out, no part of the system touched."""

import imaplib
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from tempfile import mkdtemp

from relay_process import eventually, free_ports

PASSWORD = "correct horse"
_LIBRARY = Path("/usr/lib/dovecot/modules")

_CONF = """\
base_dir = {0}/run
state_dir = {0}/state
log_path = {0}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{certificate}/certificate.pem
ssl_key = <{certificate}/key.pem
disable_plaintext_auth = no
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
mail_location = maildir:{0}/mail/%d/%n
mail_plugins = quota
lmtp_save_to_detail_mailbox = no
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {0}/users
}}
userdb {{
  driver = passwd-file
  args = {0}/users
  default_fields = uid={uid} gid={gid} home={0}/mail/%d/%n
}}
plugin {{
  quota = maildir:User quota
  quota_rule = *:storage=100M
}}
service lmtp {{
  unix_listener {0}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    port = {lmtp}
  }}
  inet_listener lmtps {{
    port = {lmtps}
    ssl = yes
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


def missing() -> str:
    """Return why there can be no Dovecot here, or ""."""
    if shutil.which("dovecot") is None or not (_LIBRARY.parent / "lmtp").exists():
        return "dovecot-core or dovecot-lmtpd is not installed"
    if not (_LIBRARY.parent / "imap").exists():
        return "dovecot-imapd is not installed"
    return "Dovecot's processes change their user, which takes root" if os.getuid() else ""


class Dovecot:
    """One installation.  ``users``: by address, extra fields of the user's."""

    def __init__(self, certificate: Path, users: dict[str, str]) -> None:
        # Not below pytest's directory, which is for one user only
        self.directory = Path(mkdtemp(prefix="mta-dovecot-"))
        self.directory.chmod(0o755)
        self.user = pwd.getpwnam("nobody")
        self.lmtp, self.lmtps, self.imap = free_ports(3)
        self.mail = self.directory / "mail"
        self.mail.mkdir()
        os.chown(self.mail, self.user.pw_uid, self.user.pw_gid)
        self.socket = self.directory / "lmtp"
        self._config = self.directory / "dovecot.conf"
        self._config.write_text(
            _CONF.format(
                self.directory, certificate=certificate, uid=self.user.pw_uid,
                gid=self.user.pw_gid, lmtp=self.lmtp, lmtps=self.lmtps, imap=self.imap,
            )
        )  # fmt: skip
        lines = [f"{name}:{{PLAIN}}{PASSWORD}::::::{more}" for name, more in users.items()]
        (self.directory / "users").write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            ["dovecot", "-F", "-c", str(self._config)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        eventually(self._is_up)

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self.log
        return self.socket.exists() and (self.directory / "run" / "master.pid").exists()

    @property
    def log(self) -> str:
        path = self.directory / "dovecot.log"
        return path.read_text() if path.exists() else "no log"

    def adopt(self) -> None:
        """Give the mail to the user that Dovecot reads it as."""
        for path in (self.mail, *self.mail.rglob("*")):
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def messages(self, address: str) -> list[bytes]:
        """Return the messages in the INBOX of ``address``, as IMAP gives them."""
        with imaplib.IMAP4("127.0.0.1", self.imap, timeout=20) as imap:
            imap.login(address, PASSWORD)
            imap.select("INBOX", readonly=True)
            numbers = imap.search(None, "ALL")[1][0].split()
            found = [imap.fetch(number, "(BODY.PEEK[])")[1][0] for number in numbers]
            return [one[1] for one in found if isinstance(one, tuple)]

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        shutil.rmtree(self.directory, ignore_errors=True)
