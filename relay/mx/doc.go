// Package mx delivers mail to the recipient's own host, with no smarthost in
// between.
//
//	out := &mx.Forwarder{Hostname: "mail.example.org"}
//	defer out.Close()
//
//	q := &queue.Queue{Spool: spool, Next: out, Destination: mx.Destination}
//	go q.Run(ctx)
//
//	srv := &relay.Server{Forwarder: q, …}
//
// A message goes to one domain at a time, so that it goes to all of its recipients
// or to none. The queue sees to that with [Destination]; without it, recipients of
// other domains than the first one's are refused for now. Hosts that greylist, or
// are down for an hour, are everyday life on port 25: use a queue.
//
// To be listened to, Hostname must be a name of the address that the connections
// come from, that address must have a reverse entry with the same name, and what is
// sent should be signed: see package dkim.
//
// # Which host
//
// The domain's MX records say which, the lowest preference first and equals in
// random order (RFC 5321 section 5.1). Only a domain without any is its own host.
// IP addresses are not delivered to, neither as a recipient's domain nor as an MX
// record. At most MaxHosts hosts are tried, each at up to four addresses, IPv6 and
// IPv4 in turns, of those that AllowAddr lets pass: by default public ones. Where
// mail goes is remembered for a minute, connections are kept for the next message.
//
// A host of our own Hostname, and all that come after it, are left out: mail for
// which this server is the backup goes to better hosts only, and never in circles.
//
// # TLS
//
// A host that offers STARTTLS gets the mail over TLS, whatever its certificate. If
// TLS then fails, the mail goes in plaintext, unless RequireTLS is set or TLS has
// worked with that host in the last 24 hours; and for an hour no TLS is tried with
// it. Three things ask for more:
//
//   - RequireTLS: nothing is sent in plaintext.
//   - An MTA-STS policy of the domain (RFC 8461) in enforce mode: only hosts that it
//     names, over TLS, with a certificate that is valid for the host's name. In
//     testing mode what is against it is logged. Policies are kept in memory until
//     they expire, with a look every ten minutes whether there is another, for
//     which only one message waits.
//   - A message with REQUIRETLS (RFC 8689): the same as enforce mode, and the host
//     must pass the requirement on. As DNSSEC is not looked at, that needs a domain
//     with a policy in enforce mode, or one that is its own host.
//
// # What is final
//
// Forward returns nil when a host has taken the message for every recipient. What
// an error means follows RFC 5321 sections 4.2 and 4.5.4: a reply of 5yz to the
// message is final; a reply of 4yz, and whatever goes wrong on the way, is worth
// another try. Where it says next, the next host is asked, and the error is that of
// the last column if none is left. Of several errors one is returned: an answer
// rather than silence, and a temporary one rather than a final one, for a host that
// was silent may yet take the message.
//
//	what happened                             next host   error
//	reply 5yz to MAIL, RCPT, DATA, content    no          that reply, final
//	reply 4yz to MAIL, DATA, content          yes         that reply, temporary
//	reply 4yz to RCPT, all recipients         yes         RefusedError, temporary
//	reply 4yz to RCPT, some recipients        no          RefusedError with those
//	lost after the end of the content         no          temporary; it may have arrived
//	lost earlier, reply 421                   yes         temporary
//	connection or EHLO refused, reply 530     yes         temporary
//	no connection, no answer in time          yes         temporary
//	required TLS is missing or fails          yes         temporary
//	host is not in the enforced policy        yes         451 4.7.5
//	REQUIRETLS: host has no valid TLS, or     yes         550 5.7.30, final
//	  doesn't offer REQUIRETLS
//	REQUIRETLS: no policy names the hosts     no          550 5.7.30, final
//	message too large, 8-bit or SMTPUTF8 and  no          final, as in package smarthost
//	  the host doesn't take that
//
//	host has no address                       yes         550 5.4.4, final
//	host's addresses not allowed              yes         451 4.4.4
//	host's addresses unknown: DNS fails       yes         451 4.4.3
//	DNS fails for the domain                  -           451 4.4.3
//	domain doesn't exist, or has neither MX   -           550 5.1.2, final
//	  nor address
//	null MX (RFC 7505)                        -           556 5.1.10, final
//	MX records name no host                   -           550 5.4.4, final
//	this server is the best host              -           554 5.4.6, final
//	recipient is no name@domain               -           RefusedError, 550 5.1.3, final
//	recipient's domain is an IP address or    -           RefusedError, 550 5.1.2, final
//	  no host name
//	recipients of several domains             -           RefusedError, 452 4.5.3
//
// What is about the way and not about the message has a method Unreachable that
// returns true, so that a queue can spare other messages the attempt.
package mx
