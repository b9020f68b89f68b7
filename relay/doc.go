// Package relay is an SMTP submission server for embedding (RFC 6409): it lets
// a tenant's tools in over TLS, lets each send from its own domain only, and
// hands their mail on without losing any.
//
// A [Server] is a struct to fill in. It asks a [credentials.Manager] who may log
// in, and gives each message to a [Forwarder]:
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
// The Forwarder's answer is the client's answer: nil becomes 250, and an error a
// reply of the 4yz or 5yz class. So 250 means what the Forwarder makes it mean.
// A smarthost in this place passes mail through and keeps none; a queue before
// it keeps the mail until it is delivered. Forwarders that wrap another make a
// chain: a queue, then a signer, then an upstream.
//
// # What it accepts
//
// Nobody logs in before TLS, nobody sends before login. The envelope sender and
// every address in From and Sender must be at exactly the user's domain, unless
// ReplaceExactDomain says otherwise. A message is forwarded as it came, except for:
//   - a Received line, which is added
//   - a Message-ID and a Date, if they are missing or invalid
//   - Bcc, Resent-Bcc and Return-Path, which are removed
//   - fields that may appear once (RFC 5322 section 3.6): a repetition that adds
//     nothing is removed, any other is refused
//   - line ends, which become CRLF
//
// A bare CR or a NUL is refused: neither ever leaves the relay.
//
// After a reset or a deletion in package credentials a live session of that
// password is cut off at once on this node, and gets no further message accepted
// on any.
//
// # Tests with real parts
//
// Real mail programs send through a relay in internal/integration/e2e. Relays are
// killed under load in internal/integration/chaos.
package relay
