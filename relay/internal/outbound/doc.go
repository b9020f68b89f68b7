// Package outbound is the SMTP client beneath the Forwarders that end a chain:
// smarthost and mx.
//
// A [Dialer] says how to reach one server. Dial connects, greets, starts TLS, logs
// in, and returns a [Conn]. [Conn.Send] carries one message and keeps the contract
// of a relay.Forwarder. A [Pool] keeps connections for the next message, a number
// of them for each site, and learns from replies how many connections, messages
// and recipients the site takes.
//
// The Pool goes on with a fresh connection if the kept one is dead or refuses
// another message, unless the server might have taken the message. If
// relay.Message.Partial is set, recipients that are refused don't hold up the
// others, and recipients beyond the server's limit follow in further transactions.
//
// Everything that can wait ends with the context or after the timeout of its
// [Step], whichever comes first (RFC 5321 section 4.5.3.2). A server's reply is
// bounded in length and made safe to show.
package outbound
