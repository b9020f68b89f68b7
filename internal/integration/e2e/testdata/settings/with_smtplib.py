"""Runs the snippet, which sends a message with smtplib. Arguments: the snippet and the sender."""
import sys
from email.message import EmailMessage

message = EmailMessage()
message["From"] = sys.argv[2]
message["To"] = "you@example.com"
message["Subject"] = "test"
message.set_content("Hello")
exec(open(sys.argv[1]).read(), {"message": message})
