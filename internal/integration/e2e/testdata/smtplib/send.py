import base64
import json
import smtplib
import ssl
import sys

s = json.load(sys.stdin)
context = ssl.create_default_context(cafile=s["certificate"])
if s["implicit_tls"]:
    client = smtplib.SMTP_SSL(s["server"], s["port"], context=context)
else:
    client = smtplib.SMTP(s["server"], s["port"])
    client.starttls(context=context)
with client:
    client.login(s["username"], s["password"])
    client.sendmail(s["from"], [s["to"]], base64.b64decode(s["raw"]), ["BODY=8BITMIME"])
