// Package outbound is the SMTP client beneath the Forwarders that end a chain:
// smarthost and mx.
//
// A [Dialer] says how to reach one server: it connects, greets, starts TLS, logs
// in, and returns a [Conn]. [Conn.Send] carries one message; it keeps the
// contract of a relay.Forwarder: nil means that the server took the message for
// every recipient, an error that it took it for none. A [Pool] keeps connections
// for the next message, a number of them for each destination, and sends
// again on a fresh one when a kept one turns out to be dead, unless the server
// might have taken the message.
//
// Everything that can wait ends with the context or after the timeout of its
// [Step], whichever comes first (RFC 5321 section 4.5.3.2). What a server says
// is bounded in length and made safe before anybody sees it.
package outbound
