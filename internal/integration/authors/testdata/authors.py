"""Reads values of a From field, one a line in base64. Answers each with one line
of JSON: the addresses that every way of reading finds."""
import base64
import email
import email.policy
import email.utils
import json
import sys


def strictness():
    try:
        email.utils.getaddresses([], strict=True)
        return ({"strict": True}, {"strict": False})
    except TypeError:
        return ({},)


def of_utils(found):
    for name, text in found.items():
        for options in strictness():
            yield "email.utils.parseaddr " + name, [email.utils.parseaddr(text, **options)[1]]
            yield "email.utils.getaddresses " + name, [a for _, a in email.utils.getaddresses([text], **options)]


def of_parser(value):
    raw = b"From:" + value + b"\r\nTo: bob@example.com\r\n\r\n"
    for line_end in (b"\r\n", b"\n"):
        for policy in ("compat32", "default", "SMTP", "SMTPUTF8", "strict"):
            message = email.message_from_bytes(raw.replace(b"\r\n", line_end), policy=getattr(email.policy, policy))
            how = "email.parser %s %r" % (policy, line_end)
            for field in message.get_all("From"):
                if hasattr(field, "addresses"):
                    yield how, [a.addr_spec for a in field.addresses]
                yield how + " parseaddr", [email.utils.parseaddr(str(field))[1]]


for line in sys.stdin:
    value = base64.b64decode(line)
    text = value.decode("utf-8")
    answers = {}
    forms = {"CRLF": text, "LF": text.replace("\r\n", "\n"), "unfolded": text.replace("\r\n", "")}
    for answer in list(of_utils(forms)):
        answers[answer[0]] = answers.get(answer[0], []) + answer[1]
    try:
        for how, addresses in of_parser(value):
            answers[how] = answers.get(how, []) + addresses
    except Exception:  # the parser fails, so it names nobody
        pass
    print(json.dumps(answers))
