// Package smarthost hands mail to one upstream server: a provider's submission
// service, or an organisation's own mail server.
//
//	upstream := &smarthost.Forwarder{
//		Addr:     "smtp.example.net:587",
//		Username: "relay",
//		Password: credentials.NewPassword(os.Getenv("UPSTREAM_PASSWORD")),
//	}
//	defer upstream.Close()
//
//	srv := &relay.Server{Forwarder: upstream, …}
//
// # Protection
//
// The connection is protected by STARTTLS, and the upstream's certificate must be
// valid for the host in Addr; otherwise nothing is sent. For port 465 set TLS to
// [ImplicitTLS]. On a private network, and in tests, set TLS to [NoTLS], or keep
// TLS and trust the upstream's own certificate by TLSConfig.RootCAs, or any
// certificate by TLSConfig.InsecureSkipVerify. The password is only sent over TLS,
// or with NoTLS.
//
// # Recipients
//
// Forward returns nil when the upstream has accepted the message for every
// recipient. Directly behind a relay.Server, a message goes to all recipients or
// to none. If the upstream refuses one recipient, Forward sends nothing to the
// others and returns a *relay.RefusedError with the upstream's code and text, which
// the client reads.
//
// Behind a queue (the message has Partial), the upstream gets the message for the
// recipients that it accepts, and the error names the others. It goes out in
// transactions of at most MaxRecipients, one after the other on one connection.
//
// # Connections
//
// A connection is kept for the next message. If it then turns out to be dead, or
// the upstream refuses MAIL, DATA or every RCPT with a reply that may be about the
// connection, the message is tried once more over a fresh one. An upstream that
// turns an additional connection away gets no more than are open; the limit is
// raised by one every minute, up to MaxConns.
//
// Limits and pauses, set or learned, are those of one Forwarder. If several processes
// use one upstream, set each one's share. A restart forgets what was learned.
//
// # Failures
//
// A failure of the upstream, in contrast to a refusal of the message, is temporary:
// the upstream is down, slow, or sends malformed replies; it has no TLS or the wrong
// certificate; it refuses the login. The last two need a person, as does a wrong
// Addr, and are logged as errors. So is an upstream that refuses MAIL for good of
// three tenants in a row and of every one after: their mail waits and does not bounce,
// because that is about this relay. Behind a queue one such refusal is temporary too,
// if its code does not say that it is about the sender, the size or the parameters. It is
// final when the upstream has accepted other mail before the next attempt, or refuses the
// message again an hour or more after the first time. Each Forwarder remembers that for
// the last 10,000 such messages. If several transactions are needed and a later one is
// refused so, that is said of its recipients only.
//
// Such failures, and all others without a reply to the message, are about a server of the
// operator's own: [relay.Internal] is true of the error, and behind a queue tenants read
// only that the outgoing server has a problem.
//
// If the connection fails after the whole message was sent, it is unknown whether the
// upstream has it. That is temporary too: the message may then arrive twice, but is not
// lost.
//
// # What the upstream lacks
//
// SIZE, 8BITMIME, SMTPUTF8, DSN and REQUIRETLS are passed on; 8BITMIME is said also
// of a message whose client didn't say what it contains. A message that needs what
// the upstream doesn't offer is refused before anything of it is sent:
//
//	larger than SIZE                        552 5.3.4
//	8-bit content, no 8BITMIME              554 5.6.3
//	address that isn't ASCII, no SMTPUTF8   553 5.6.7
//	header that isn't ASCII, no SMTPUTF8    554 5.6.9
//	REQUIRETLS not offered, or no verified TLS    550 5.7.30
//
// A message needs an extension if it has such bytes, whatever the client declared. It
// is not converted, because that would break signatures. DSN parameters are dropped if
// the upstream has no DSN (RFC 3461 section 5.2.2); a queue in front then tells a
// sender who asked for a confirmation that none will come.
//
// # Tests with real parts
//
// internal/integration/e2e hands mail to an upstream in each way of TLS and login.
// internal/integration/chaos has upstreams that misbehave under load.
package smarthost
