// Package bounces brings back late bounces: reports of servers that accepted a
// message and could not deliver it later. Such a report goes to the envelope
// sender, so by default only the author sees it.
//
// A [Rewriter] stands between the queue and what delivers. It gives each message
// an envelope sender in a domain of the product's, and a signed token:
//
//	keys := []credentials.Password{credentials.NewPassword(os.Getenv("BOUNCE_SECRET"))}
//	out := &bounces.Rewriter{
//		Next:    signer, // or what delivers
//		Secrets: keys,
//		Domain: func(ctx context.Context, domain string) (string, error) {
//			return "bounces.example.net", nil
//		},
//	}
//	q := &queue.Queue{Spool: st, Record: true, Next: out}
//
// A [Receiver] reads the reports that come to these addresses. Its Bounced is told
// which recipient of which mail failed, and its Forwarder gets every message for
// the original sender, so that authors still get the reports:
//
//	in := &bounces.Receiver{Secrets: keys, Bounced: hist.Bounced, Forwarder: q}
//
// A [Server] accepts mail for these addresses and for no others. A mail server of
// the product, a pipe or a mailbox may call Receive instead:
//
//	srv := &bounces.Server{Hostname: "mx.example.net", Receiver: in}
//	go srv.ListenAndServe(":25")
//
// # Addresses
//
// An address is the same for all messages of one sender. So a server that delays
// the first message of an unknown sender (greylisting) does so once. The address
// holds the original sender and 40 bits of an HMAC:
//
//	b-xxxxxxxx-billing@bounces.acme.example       for billing@acme.example
//	b-xxxxxxxx=billing=acme.example@bounces.example.net
//
// If an address would be longer than the limits of RFC 5321 section 4.5.3.1, 64
// bytes before the @ and 254 in all, the message keeps its sender, and reports go
// there. A local part of 53 bytes fits into the first form.
//
// # Tokens
//
// The message is found by its token, which is in the field X-Bounce-Token and, if
// the client set no ENVID, in the envelope ID (RFC 3461 section 4.4). Servers return
// the header of a message, its envelope ID, or both. The token holds the message's
// ID, its tenant, and 80 bits of an HMAC over both, the sender, and the domain of the
// recipients. A report without a valid token changes nothing. The recipients of a
// message do have its token, so one of them can report a failure of this mail, but only for
// recipients at the same domain, or for all recipients if the message went to several domains
// in one transaction. Package suppress does not believe one such report if the message had
// several recipients.
//
// # The domain of the addresses
//
// Many servers refuse mail from a sender whose domain has no mail host. Before
// senders are rewritten, the domain needs an MX record that leads to the server that
// receives the reports, and an SPF record that allows the servers that send.
// [CheckDomain] says what is missing. A domain below the sender's own
// (bounces.acme.example) also agrees with the sender for DMARC; any other domain
// leaves DMARC to the DKIM signature.
package bounces
