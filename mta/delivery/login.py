"""Logging in at a smarthost (RFC 4954).

The strongest mechanism that it offers and the route permits; by SCRAM the server has to prove that
it knows the password, too.  By token, one that is refused is fetched anew, once.  What the peer
says goes to the log, unless it repeats a secret.

Trusts: that the peer has been verified.  Nothing is said without TLS, whatever the route says.
"""

from base64 import b64decode
from binascii import Error

from mta.delivery.connection import Connection
from mta.delivery.routes import Smarthost
from mta.delivery.token import NoToken, Tokens, TokenSource
from mta.delivery.transcript import Secrets
from mta.delivery.trouble import Kind, Trouble
from mta.mail.outcome import TlsLevel
from mta.smtp.client_oauth import bearer, choose_bearer
from mta.smtp.client_sasl import Credentials, Exchange, NoMechanism, Untrusted, choose
from mta.smtp.replies import Reply
from mta.smtp.steps import Stage, Step, auth_response, auth_step
from mta.tls.connections import channel_binding

_MOST_TURNS = 5


async def log_in(
    connection: Connection, smarthost: Smarthost, tokens: Tokens | None = None
) -> None:
    """Log in; raises ``Trouble``.  ``tokens``: where they come from, if it is to be by token."""
    if not _private(connection):
        raise Trouble(Kind.REFUSED, Stage.AUTH, "credentials are not sent without TLS")
    if smarthost.oauth is not None:
        assert tokens is not None
        await _by_token(connection, smarthost, tokens.of(smarthost.oauth))
    else:
        await _by_password(connection, smarthost)


async def _by_token(connection: Connection, smarthost: Smarthost, source: TokenSource) -> None:
    """Show a token; when it is refused, a new one."""
    try:
        name = choose_bearer(connection.client.extensions.auth, smarthost.mechanisms)
    except NoMechanism as error:
        raise Trouble(Kind.REFUSED, Stage.AUTH, str(error)) from None
    token, said = await _token(source), [smarthost.login]
    try:
        await _show(connection, smarthost, name, token, said)
    except Trouble as trouble:
        reply = trouble.reply
        if trouble.kind is not Kind.REFUSED or reply is None or not reply.permanent:
            raise
        source.drop(token)
        if connection.record is not None:
            connection.record.note("the token is refused: once more with a new one")
        if not connection.alive:  # the next attempt has it
            raise
    else:
        return
    await _show(connection, smarthost, name, await _token(source), said)


async def _token(source: TokenSource) -> str:
    try:
        return await source.token()
    except NoToken as error:
        raise Trouble(Kind.TOKEN, Stage.AUTH, str(error)) from None


async def _show(
    connection: Connection, smarthost: Smarthost, name: str, token: str, said: list[str]
) -> None:
    said.append(token)
    _beware(connection, Secrets(smarthost.login, token))
    exchange = bearer(name, smarthost.login, token, smarthost.host, smarthost.port)
    await _have(connection, exchange, said)


def _beware(connection: Connection, secrets: Secrets) -> None:
    connection.secrets = secrets
    if connection.record is not None:
        connection.record.beware(secrets)


async def _by_password(connection: Connection, smarthost: Smarthost) -> None:
    credentials = Credentials(smarthost.login, smarthost.password)
    _beware(connection, Secrets(smarthost.login, smarthost.password))
    said = [smarthost.login, smarthost.password]
    binding = channel_binding(connection.transport, client=True)
    try:
        exchange = choose(
            connection.client.extensions.auth, smarthost.mechanisms, credentials, binding
        )
    except NoMechanism as error:
        raise Trouble(Kind.REFUSED, Stage.AUTH, str(error)) from None
    await _have(connection, exchange, said)


async def _have(connection: Connection, exchange: Exchange, said: list[str]) -> None:
    """Have the exchange, and let nothing out that repeats what was ``said``."""
    try:
        await _exchange(connection, exchange, said)
    except Untrusted as error:
        connection.abort()  # it waits for a response, and gets no further word
        raise Trouble(Kind.ATTACK, Stage.AUTH, str(error)) from None
    except Trouble as trouble:
        raise _without_secrets(trouble, said) from None


def _private(connection: Connection) -> bool:
    return connection.tls.level is not TlsLevel.NONE


async def _exchange(connection: Connection, exchange: Exchange, said: list[str]) -> None:
    """Have the exchange; ``said`` hears of what must not be repeated."""
    initial = exchange.begin()
    step, sent = auth_step(exchange.name, initial)
    if sent:
        said.append(step.line.split()[2].decode("ascii"))
    reply = await connection.command(step)
    if initial is not None and not sent and reply.code == 334:
        reply = await _say(connection, auth_response(initial), said)
    for _ in range(_MOST_TURNS):
        if reply.code != 334:
            break
        response = exchange.respond(_challenge(reply))
        reply = await _say(connection, auth_response(response), said)
    if not 200 <= reply.code < 300:
        raise Trouble(Kind.REFUSED, Stage.AUTH, reply.text, reply)
    exchange.finish()


async def _say(connection: Connection, step: Step, said: list[str]) -> Reply:
    said.append(step.line.strip().decode("ascii"))
    return await connection.command(step)


def _challenge(reply: Reply) -> bytes:
    """Return a challenge; a prompt that is not in base64, as some servers of LOGIN have it, is "".

    For a mechanism that reads its challenges that is none of its messages.
    """
    try:
        return b64decode(reply.text.strip(), validate=True)
    except (Error, ValueError):
        return b""


def _without_secrets(trouble: Trouble, secrets: list[str]) -> Trouble:
    reply = trouble.reply
    said = str(trouble) + (reply.text if reply else "")
    if not any(secret and secret in said for secret in secrets):
        return trouble
    text = "(text withheld: it repeats the credentials)"
    hidden = Reply(reply.code, reply.enhanced, (text,)) if reply else None
    return Trouble(trouble.kind, trouble.command, text, hidden)
