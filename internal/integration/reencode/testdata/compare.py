"""Reads pairs of messages, a JSON list of two base64 strings a line. Answers each
with one line of JSON: what the two differ in, and their longest lines."""
import base64
import email
import email.policy
import json
import sys

ADDED = ("mime-version", "content-type", "content-transfer-encoding")


def fields(part):
    return [(name, "".join(str(value).splitlines())) for name, value in part.items() if name.lower() not in ADDED]


def describe(part, fixed=False):
    """Returns what a part is: its fields, and what its body decodes to."""
    kind = part.get_content_type()
    fixed = fixed or kind in ("multipart/signed", "multipart/encrypted", "message/rfc822")
    if part.is_multipart():
        return [kind, fields(part), part.preamble, part.epilogue, [describe(p, fixed) for p in part.get_payload()]]
    body = part.get_payload() if fixed else base64.b64encode(part.get_payload(decode=True)).decode()
    return [kind, fields(part), body, [str(d) for d in part.defects]]


for line in sys.stdin:
    before, after = (base64.b64decode(text) for text in json.loads(line))
    a, b = (describe(email.message_from_bytes(m, policy=email.policy.compat32)) for m in (before, after))
    longest = [max(map(len, m.split(b"\r\n"))) for m in (before, after)]
    print(json.dumps({"before": a, "after": b, "same": a == b, "longest": longest}))
