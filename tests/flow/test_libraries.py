"""Strangers that applications are built on: nodemailer, Perl's Net::SMTP and Go's net/smtp.

They submit over 465.  Go runs where it is: its compiler is 450 MB of packages for one client, and
not in ``.ci/run`` for that.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from receiver import Receiver
from relay_process import LOGIN, PASSWORD, Relay, eventually, installed

pytestmark = pytest.mark.flow

Receivers = Callable[..., Receiver]
Relays = Callable[..., Relay]

_NODE = """
const mailer = require('nodemailer');
const fs = require('fs');
const transport = mailer.createTransport({
  host: '127.0.0.1', port: Number(process.env.PORT), secure: true,
  tls: {ca: fs.readFileSync(process.env.CA), servername: 'relay.test'},
  auth: {user: process.env.LOGIN, pass: process.env.PASSWORD},
});
transport.sendMail({
  from: '"App 7" <app@home.test>',
  to: 'u@there.test',
  bcc: 'v@there.test',
  subject: 'nodemailer \u00fc',
  text: 'Hello.\\n.dot\\n',
  attachments: [{filename: 'a.bin', content: Buffer.alloc(300000, 7)}],
  dsn: {id: 'order+7', return: 'headers', notify: ['success', 'delay'], recipient: 'u@there.test'},
}).then(info => { console.log(info.response); transport.close(); })
  .catch(error => { console.error(error); process.exit(1); });
"""

_PERL = r"""
use strict; use warnings; use Net::SMTP; use Authen::SASL;
my $smtp = Net::SMTP->new('127.0.0.1', Port => $ENV{PORT}, SSL => 1, Hello => 'app.test',
    SSL_ca_file => $ENV{CA}, SSL_hostname => 'relay.test', SSL_verifycn_name => 'relay.test')
    or die "connect: $@";
$smtp->auth(Authen::SASL->new(mechanism => $ENV{MECHANISM},
    callback => {user => $ENV{LOGIN}, pass => $ENV{PASSWORD}, authname => ''}))
    or die 'auth: ' . $smtp->message;
$smtp->mail('app@home.test', Return => 'HDRS', Envelope => 'order-7') or die $smtp->message;
$smtp->to('u@there.test', {Notify => ['SUCCESS', 'FAILURE']}) or die $smtp->message;
$smtp->data("Subject: Net::SMTP\n\nHello.\n.dot\n") or die $smtp->message;
print $smtp->message;
$smtp->quit or die $smtp->message;
"""

_GO = """
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/smtp"
	"os"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	ca, err := os.ReadFile(os.Getenv("CA"))
	must(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	config := &tls.Config{RootCAs: pool, ServerName: "relay.test"}
	wire, err := tls.Dial("tcp", "127.0.0.1:"+os.Getenv("PORT"), config)
	must(err)
	client, err := smtp.NewClient(wire, "relay.test")
	must(err)
	must(client.Auth(smtp.PlainAuth("", os.Getenv("LOGIN"), os.Getenv("PASSWORD"), "relay.test")))
	must(client.Mail("app@home.test"))
	must(client.Rcpt("\u00fc@there.test"))
	body, err := client.Data()
	must(err)
	fmt.Fprint(body, "From: app@home.test\\r\\nSubject: Go \u00fc\\r\\n\\r\\nHello.\\n.dot\\n")
	must(body.Close())
	must(client.Quit())
}
"""


def run(relay: Relay, *command: str, **environment: str) -> str:
    """Run a client; its whole output is the failure's explanation."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60,
        env={
            **os.environ, "PORT": str(relay.smtps_port), "LOGIN": LOGIN, "PASSWORD": PASSWORD,
            "CA": str(relay.directory / "certificate.pem"), **environment,
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def works(*command: str, **environment: str) -> bool:
    """Whether a program and the library it needs are here."""
    if not installed(command[0]):
        return False
    done = subprocess.run(
        command, check=False, capture_output=True, env={**os.environ, **environment}
    )
    return done.returncode == 0


NODE_PATH = "/usr/share/nodejs"


@pytest.mark.skipif(
    not works("node", "-e", "require('nodemailer')", NODE_PATH=NODE_PATH),
    reason="nodejs or node-nodemailer is not installed",
)
def test_nodemailer_submits(tmp_path: Path, receivers: Receivers, relays: Relays) -> None:
    """nodemailer logs in over 465, asks for reports, and sends 400 KB of encoded attachment."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    script = tmp_path / "send.js"
    script.write_text(_NODE)
    said = run(relay, "node", str(script), NODE_PATH=NODE_PATH)
    assert said.startswith("250 2.0.0 Ok: queued as ")
    receiver.wait(1)
    (message,) = receiver.messages()
    assert message["Subject"] == "nodemailer ü"
    assert message["From"] == "App 7 <app@home.test>"
    assert message["Bcc"] is None
    text, attached = message.iter_parts()
    assert text.get_content() == "Hello.\n.dot\n"
    assert attached.get_content() == b"\7" * 300_000
    assert receiver.envelopes[0][1] == ("u@there.test", "v@there.test")
    told = relay.mta("trace", said.split()[-1], "--json").stdout
    assert '"order+2B7"' in told
    assert "SUCCESS,DELAY" in told
    assert "rfc822;u@there.test" in told


@pytest.mark.skipif(
    not works("perl", "-MNet::SMTP", "-MIO::Socket::SSL", "-MAuthen::SASL", "-e", "1"),
    reason="libio-socket-ssl-perl or libauthen-sasl-perl is not installed",
)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_net_smtp_submits(mechanism: str, receivers: Receivers, relays: Relays) -> None:
    """Net::SMTP verifies the certificate, logs in, asks for reports; its lack of From is mended."""
    receiver = receivers()
    relay = relays(receiver.port)
    relay.start()
    said = run(relay, "perl", "-e", _PERL, MECHANISM=mechanism)
    assert "queued as " in said
    receiver.wait(1)
    (message,) = receiver.messages()
    assert message["Subject"] == "Net::SMTP"
    assert message["From"] == "app@home.test"
    assert message.get_content() == "Hello.\n.dot\n"
    told = relay.mta("trace", said.split()[-1], "--json").stdout
    assert '"order-7"' in told
    assert "SUCCESS,FAILURE" in told


@pytest.mark.skipif(not installed("go"), reason="golang-go is not installed")
def test_go_submits(tmp_path: Path, receivers: Receivers, relays: Relays) -> None:
    """net/smtp verifies the certificate, logs in by PLAIN, and asks by itself for SMTPUTF8."""
    receiver = receivers(enable_SMTPUTF8=True)
    relay = relays(receiver.port)
    relay.start()
    script = tmp_path / "send.go"
    script.write_text(_GO)
    run(relay, "go", "run", str(script), GOCACHE=str(tmp_path / "cache"), GO111MODULE="off")
    receiver.wait(1)
    assert receiver.envelopes[0][1] == ("\u00fc@there.test",)
    content = receiver.envelopes[0][2]
    assert "Subject: Go \u00fc\r\n".encode() in content
    assert content.endswith(b"\r\n\r\nHello.\r\n.dot\r\n")
    eventually(lambda: "proto=UTF8SMTPSA" in relay.log)
