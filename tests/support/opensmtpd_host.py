"""OpenSMTPD as a receiving host, from the files of its package, in namespaces of its own.

Run as ``python opensmtpd_host.py FILES PORT DIRECTORY`` in mount and PID namespaces of its own: the
package cannot be installed beside another mail server, and its paths are built in.  What arrives is
put into ``DIRECTORY/mail`` as a Maildir.  Never returns.

With TLS if ``key.pem``, ``chain.pem`` and ``own_key.so`` are in ``DIRECTORY``. By itself version
6.8 cannot do it with OpenSSL 3: the process that has the sessions has no private keys; its RSA
and EC methods ask the one that has them, and know by a mark on a key which one is meant. OpenSSL
3 signs with a copy of the key that has no such mark; so the methods sign by themselves, with a
key that is public (``smtpd -v``: "pony: rsae_priv_enc", "missing private key"; strace: nothing
goes to the other process). RSA or EC, TLS 1.2 or 1.3, it is the same. ``own_key.c`` gives the
sessions their key.
"""

import os
import subprocess
import sys
from pathlib import Path

USERS = ("opensmtpd", "opensmtpq", "keeper")
CONFIG = """
{pki}
listen on 127.0.0.1 port {port} hostname mx.open.test {tls}
action "keep" maildir "{directory}/mail" virtual {{ "u@open.test" = keeper }}
match from any for domain "open.test" action "keep"
"""

PKI = """
pki mx.open.test cert "{directory}/chain.pem"
pki mx.open.test key "{directory}/key.pem"
"""


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def with_users(directory: Path, file: str, line: str) -> None:
    """Let ``file`` name the users of the package, here and nowhere else."""
    lines = [one for one in Path(file).read_text().splitlines() if one.split(":")[0] not in USERS]
    lines += [line.format(name=name, number=64000 + n) for n, name in enumerate(USERS)]
    made = directory / Path(file).name
    made.write_text("\n".join(lines) + "\n")
    mount("--bind", str(made), file)


def main(files: Path, port: str, directory: Path) -> None:
    with_users(directory, "/etc/passwd", "{name}:x:{number}:{number}::/:/bin/sh")
    with_users(directory, "/etc/group", "{name}:x:{number}:")
    for path in ("/var/spool", "/var/lib", "/run", "/usr/libexec"):
        Path(path).mkdir(parents=True, exist_ok=True)
        mount("-t", "tmpfs", "-o", "mode=755", "none", path)
    for path, mode in (("/var/spool/smtpd", 0o711), ("/var/lib/opensmtpd", 0o755),
                       ("/var/lib/opensmtpd/empty", 0o755), ("/usr/libexec/opensmtpd", 0o755),
                       (str(directory / "mail"), 0o755)):  # fmt: skip
        Path(path).mkdir(mode=mode)
        Path(path).chmod(mode)
    os.chown(directory / "mail", 64002, 64002)
    mount("--bind", str(files / "usr/libexec/opensmtpd"), "/usr/libexec/opensmtpd")
    config = directory / "smtpd.conf"
    library, key = directory / "own_key.so", directory / "key.pem"
    pki = PKI.format(directory=directory) if key.exists() else ""
    tls = "tls pki mx.open.test" if pki else ""
    config.write_text(CONFIG.format(directory=directory, port=port, pki=pki, tls=tls))
    config.chmod(0o644)
    more = {"LD_PRELOAD": str(library), "OWN_KEY": str(key)} if pki else {}
    program = str(files / "usr/sbin/smtpd")
    os.execve(program, [program, "-d", "-f", str(config)], {**os.environ, **more})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
