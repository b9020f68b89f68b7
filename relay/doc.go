// Package relay is an SMTP submission server for embedding (RFC 6409). Tools of a
// tenant log in over TLS and send from addresses at their own domain only. No
// accepted message is lost.
//
// A [Server] is a struct literal. It asks a [credentials.Manager] to decide on
// logins, and passes each message to a [Forwarder]:
//
//	srv := &relay.Server{
//		Hostname:    "smtp.example.com",
//		Credentials: &credentials.Manager{Store: st},
//		TLSConfig:   &tls.Config{GetCertificate: certs.GetCertificate},
//		Forwarder:   &smarthost.Forwarder{Addr: "upstream.example.net:587"},
//	}
//	go srv.ListenAndServe(":587")    // STARTTLS
//	go srv.ListenAndServeTLS(":465") // TLS from the first byte
//	...
//	srv.Shutdown(ctx)
//
// # What 250 means
//
// The Forwarder's result decides the reply: nil becomes 250, and an error becomes a
// reply of the 4yz or 5yz class. With a smarthost as the Forwarder, 250 means that
// the upstream server took the message. With a queue in front of the smarthost, 250
// means that the message is in the spool, where it stays until it is delivered.
// Forwarders that wrap another one form a chain: a queue, then a signer, then an
// upstream.
//
// # What it accepts
//
// A client can log in only over TLS, and send only after login. The envelope sender
// and every address in From and Sender must be at exactly the user's domain, unless
// ReplaceExactDomain is set. The relay changes nothing in a message except:
//   - a Received field, which is added
//   - a Message-ID and a Date, which are added if they are missing or invalid
//   - Bcc, Resent-Bcc and Return-Path, which are removed
//   - fields that may appear once (RFC 5322 section 3.6): a repetition that adds
//     nothing is removed, any other is refused
//   - line ends, which become CRLF
//   - the field that KeyHeader names, which is removed
//
// A message with a bare CR or a NUL is refused.
//
// After a reset or a deletion in package credentials, this node ends the sessions
// that used the old password at once. No node accepts a further message from such a
// session.
//
// # Mail of the product itself
//
// [Server.Submit] takes a message without a connection and a password: from an HTTP
// API, for example, or from a button that sends a test message. The checks, the
// events and the statistics are those of a client that is logged in.
//
// # Tests with real parts
//
// Real mail programs send through a relay in internal/integration/e2e. Relays are
// killed under load in internal/integration/chaos.
package relay
