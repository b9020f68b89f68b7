"""Sends with Django. The argument is the snippet."""
import sys

from django.conf import settings
from django.core.mail import send_mail

snippet = {}
exec(open(sys.argv[1]).read(), snippet)
settings.configure(**{name: value for name, value in snippet.items() if name.isupper()})
send_mail("test", "Hello", None, ["you@example.com"])
