"""One refresh token that can be used once only, and several processes that renew with it."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pki import Authority
from token_server import TokenServer

ROUNDS = 8
PROGRAM = """
import sys
from pathlib import Path
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from mta.delivery.token import OAuth, Tokens
from mta.tls.level import ClientTls

url, authority, file, rounds = sys.argv[1:]

async def renew():
    tokens = Tokens(reactor, lambda: ClientTls(Path(authority)), print)
    source = tokens.of(OAuth(url, "we", refresh_token_file=Path(file)))
    for _ in range(int(rounds)):
        token = await source.token()
        print("got", token)
        source.drop(token)

def end(result):
    if result is not None:
        print("failed:", result.getErrorMessage())
    reactor.stop()

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(renew()).addBoth(end))
reactor.run()
"""


class OnceOnly(TokenServer):
    """Takes each refresh token once."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.current, self.refused = "refresh-0", 0
        self._lock = threading.Lock()
        self._number = 0
        super().__init__(certificate, key)

    def answer(self, form: dict[str, list[str]]) -> tuple[int, Any]:
        with self._lock:
            if form["refresh_token"] != [self.current]:
                self.refused += 1
                return 400, {"error": "invalid_grant"}
            self._number += 1
            self.current = f"refresh-{self._number}"
            said = {"access_token": f"token-{self._number}", "token_type": "bearer"}
            said |= {"expires_in": 3600, "refresh_token": self.current}  # type: ignore[dict-item]
        time.sleep(0.02)  # the answer is on its way while another process may ask
        return 200, said


def test_processes_share_a_file(tmp_path: Path) -> None:
    """All get tokens, none shows a refresh token twice, and the file has the last one."""
    authority = Authority(tmp_path)
    server = OnceOnly(*authority.issue("localhost"))
    directory = tmp_path / "shared"
    directory.mkdir()
    file = directory / "refresh"
    file.write_text(f"{server.current}\n")
    command = [sys.executable, "-c", PROGRAM, server.url, str(authority.file), str(file)]
    try:
        running = [
            subprocess.Popen([*command, str(ROUNDS)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        said = [process.communicate(timeout=60)[0].split("\n") for process in running]
    finally:
        server.close()
    tokens = [line for lines in said for line in lines if line]
    assert server.refused == 0, tokens
    assert sorted(tokens) == sorted(f"got token-{n + 1}" for n in range(2 * ROUNDS))
    assert file.read_text() == f"{server.current}\n"
    assert sorted(one.name for one in directory.iterdir()) == [".refresh.lock", "refresh"]
