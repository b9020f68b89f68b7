package outbound

import (
	"context"

	"github.com/gatepost-mail/gatepost/relay"
)

// Send hands over a message, and calls its OnDelivered. It returns the server's reply to the content, safe
// to show. Any error means that the server took the message for no recipient
// as far as anybody can know:
//
//   - a *relay.RefusedError names the recipients that were refused, by the server
//     or, if they could do harm in a command, by us; nothing was sent to the
//     others;
//   - a *relay.ReplyError is a refusal of ours;
//   - an *Error says what went wrong with the server, which may be its refusal,
//     a *relay.ReplyError.
//
// Afterwards the Conn may be good for another message; [Pool] sees to that.
func (c *Conn) Send(ctx context.Context, m *relay.Message) (answer string, err error) {
	c.messages++
	if err := c.check(m); err != nil {
		return "", err
	}
	c.begin(ctx)
	defer c.end()
	c.usable = false // until the server has come to rest
	if err := c.envelope(m); err != nil {
		return "", err
	}
	if answer, err = c.content(m); err == nil && m.OnDelivered != nil {
		m.OnDelivered(relay.NextHop{Host: c.host, Reply: answer, DSN: c.ext.dsn})
	}
	return answer, err
}
