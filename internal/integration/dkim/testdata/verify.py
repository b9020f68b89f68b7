"""Reads a JSON object a line: a message in base64, and the TXT records of names.
Answers each with one line of JSON: the result of each signature."""
import base64
import json
import sys

import dkim

for line in sys.stdin:
    given = json.loads(line)
    message = base64.b64decode(given["message"])

    def lookup(name, timeout=5):
        return given["records"].get(name.decode().rstrip("."), "").encode()

    verifier = dkim.DKIM(message)
    results = []
    for i in range(given["signatures"]):
        try:
            results.append("pass" if verifier.verify(idx=i, dnsfunc=lookup) else "fail")
        except dkim.DKIMException as e:
            results.append(str(e))
    print(json.dumps(results))
