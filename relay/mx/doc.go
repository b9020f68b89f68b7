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
// A message goes to one domain at a time. The queue sees to that with [Destination];
// without it, recipients of other domains than the first one's are refused for now.
// Hosts that greylist, or are down for an hour, are usual on port 25: use a queue.
//
// Other hosts take mail only from a server that has a name. Hostname must be a name
// of the address that the connections come from, that address must have a reverse
// entry (PTR) with the same name, and messages should be signed: see package dkim.
// [Forwarder.CheckSelf] checks the names.
//
// # Which host
//
// The MX records of the domain say which, the lowest preference first and equals in
// random order (RFC 5321 section 5.1). Only a domain without any is its own host.
// Mail is not delivered to IP addresses, neither as a recipient's domain nor as an
// MX record. At most MaxHosts hosts are tried, each at up to four addresses, IPv6
// and IPv4 in turns. Addresses that AllowAddr does not allow are left out. By default
// it allows addresses that are [IsPublic]. Hosts and addresses that did not answer are asked last for ten minutes.
// The hosts of a domain are remembered for a minute, connections are kept for the
// next message.
//
// A host of our own Hostname, and all that come after it, are left out: mail for
// which this server is the backup goes to better hosts only, and never in circles.
//
// # Limits
//
// Domains with the same best mail hosts are one site, and share its limits: MaxConns,
// MaxMessages and MaxRate, or what Limits says of the site. A site that allows fewer
// connections gets no more than it allows. If a site answers that it gets too much,
// one more of its hosts is asked, and then none for a second, longer each time, up to
// half an hour.
//
// # TLS
//
// A host that offers STARTTLS gets the mail over TLS, whatever its certificate. If
// TLS fails, mail waits. If it fails again at least five minutes later, mail goes in
// plaintext for an hour, unless RequireTLS is set or TLS has worked with that host in
// the last 24 hours. Three things ask for more:
//
//   - RequireTLS: nothing is sent in plaintext.
//   - An MTA-STS policy of the domain (RFC 8461) in enforce mode: only hosts that it
//     names, over TLS, with a certificate that is valid for the host's name. In
//     testing mode violations are logged. Policies are kept in memory until they
//     expire. Every ten minutes one message looks for a newer policy; the others
//     don't wait for it.
//   - A message with REQUIRETLS (RFC 8689): the same as enforce mode, and the host
//     must offer REQUIRETLS. As DNSSEC is not checked, that needs a domain with a
//     policy in enforce mode, or one that is its own host.
//
// # What is final
//
// Forward returns nil when a host has taken the message for every recipient. What
// an error means follows RFC 5321 sections 4.2 and 4.5.4: a reply of 5yz to the
// message is final; a reply of 4yz, and any failure on the way, is worth another
// try. If the table says next, the next host is asked, and its last column is the
// error if none is left. Of several errors an answer is returned rather than silence,
// and a temporary one rather than a final one, because a host that was silent may yet
// take the message; of equal errors that of the furthest step.
//
//	what happened                             next host   error
//	reply 5yz to MAIL, RCPT, DATA, content    no          that reply, final
//	reply 4yz to MAIL, DATA, content          yes         that reply, temporary
//	reply 4yz to RCPT, all recipients         yes         RefusedError, temporary
//	reply 4yz to RCPT, some recipients        no          RefusedError with those; behind
//	                                                      a queue the others are delivered
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
// An error about the way to the host has a method Unreachable that returns true, so
// that a queue can suspend the destination.
package mx
