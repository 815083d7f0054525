"""The JSON Schema of the records, ``docs/events.schema.json``: what each type has, of what kind.

``python -m mta.log.schema`` prints it.  A test holds it against what ``record`` makes, and against
``docs/events.rst``.  ``?`` before a kind: the member may be null; ``?`` behind a name: it may be
missing.
"""

import json
import sys
from typing import Any

from mta.log.record import SCHEMA

_BASE = "schema:integer type:string event_time_ms:integer"
_ORIGIN = (
    "listener:string client_address:string client_name:string login:string"
    " reception_protocol:string reception_tls:string proxy_address?:string client_host_name?:string"
)
_MESSAGE = (
    "id:string sender:string size:integer created_time_ms:integer kind:string message_id:string"
    " login:string requires:strings"
)
_OUTCOME = (
    "response:response blame:string maybe_delivered:boolean connect_s:number transmit_s:number"
    " sender_told?:string peer_name?:string peer_address?:string peer_port?:integer"
    " source_address?:string connection_use?:integer tls_level?:string tls_version?:string"
    " tls_cipher?:string tls_why?:string tls_required?:string tls_required_why?:string"
    " tls_observed?:string"
)
_ATTEMPT = (
    f"{_MESSAGE} recipient:string orig_recipient?:string status:string num_attempts:integer"
    f" queued_s:number delay_s:number next_attempt_ms:?integer site:string cause:string {_OUTCOME}"
)
_ASKED = (
    "ret?:string envid?:string priority?:integer release_ms?:?integer deliver_by_ms?:?integer"
    " deliver_by_mode?:string notify?:strings"
)
_RESPONSE = "code:integer enhanced_code:string content:string command:string remote:boolean"

TYPES: dict[str, str] = {
    "Reception": f"{_ORIGIN} {_MESSAGE} recipients:strings {_ASKED}",
    "Delivery": _ATTEMPT,
    "TransientFailure": _ATTEMPT,
    "Bounce": _ATTEMPT,
    "Expiration": _ATTEMPT,
    "Finished": "id:string",
    "Report": "id:string report_id:string kind:string",
    "LeaseLost": f"id:string number:integer {_OUTCOME}",
    "Rejection": f"{_ORIGIN} command:string reply:string reason:string sender:string"
    " recipient:string",
    "Authentication": f"{_ORIGIN} mechanism:string",
    "AuthenticationFailure": f"{_ORIGIN} mechanism:string claimed_login:string reason:string",
    "Disconnection": f"{_ORIGIN} reason:string messages:integer commands:integer seconds:number",
    "Ruling": "id:string verb:string text:string who:string",
    "Operation": "verb:string who:string recipients:integer messages:integer id:string text:string",
    "Restraint": "restraint:integer begins:boolean already:boolean verb:string scope:string"
    " name:string source:string cause:string rule:string reason:string samples:strings was:integer"
    " level:integer since_ms:integer until_ms:?integer who:string ended_by:string",
    "Alert": "what:string subject:string text:string",
    "Note": "level:string part:string text:string",
}
"""The members of each type beside ``schema``, ``type`` and ``event_time_ms``."""


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one record."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:mta:events:{SCHEMA}",
        "title": "One line of log.json_lines",
        "type": "object",
        "required": ["schema", "type", "event_time_ms"],
        "properties": {"schema": {"const": SCHEMA}, "type": {"enum": [*TYPES]}},
        "oneOf": [_of_type(name, members) for name, members in TYPES.items()],
    }


def _of_type(name: str, members: str) -> dict[str, Any]:
    made = _object(f"{_BASE} {members}")
    made["properties"]["type"] = {"const": name}
    return {"title": name, **made}


def _object(members: str) -> dict[str, Any]:
    pairs = [one.partition(":")[::2] for one in members.split()]
    required = list(dict.fromkeys(name for name, _ in pairs if not name.endswith("?")))
    properties = {name.rstrip("?"): _kind(kind) for name, kind in pairs}
    return {"type": "object", "required": required, "properties": properties}


def _kind(kind: str) -> dict[str, Any]:
    if kind == "response":
        return _object(_RESPONSE)
    if kind == "strings":
        return {"type": "array", "items": {"type": "string"}}
    plain = kind.removeprefix("?")
    return {"type": plain if plain == kind else [plain, "null"]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=1) + "\n")
