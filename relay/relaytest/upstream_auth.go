package relaytest

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
)

// auth does AUTH PLAIN (RFC 4616) and LOGIN. A scripted reply takes the place of
// the whole exchange.
func (c *upstreamConn) auth(arg, text string) bool {
	if text != "" {
		if positive(text) {
			c.username = c.u.Username
		}
		c.reply(text, "")
		return true
	}
	mechanism, initial, _ := strings.Cut(arg, " ")
	mechanism = strings.ToUpper(mechanism)
	if c.u.Username == "" || c.username != "" || !slices.Contains(c.u.Mechanisms, mechanism) {
		c.reply("", "504 5.5.4 Not now, or not that way")
		return true
	}
	var username, password string
	var ok bool
	if mechanism == "PLAIN" {
		username, password, ok = c.authPlain(initial)
	} else {
		username, password, ok = c.authLogin(initial)
	}
	if !ok || username != c.u.Username || password != c.u.Password {
		c.reply("", "535 5.7.8 Authentication failed")
		return true
	}
	c.username = username
	c.reply("", "235 2.7.0 Welcome")
	return true
}

func (c *upstreamConn) authPlain(initial string) (username, password string, ok bool) {
	response, ok := c.response("334 ", initial)
	parts := bytes.Split(response, []byte{0})
	if !ok || len(parts) != 3 {
		return "", "", false
	}
	return string(parts[1]), string(parts[2]), true
}

func (c *upstreamConn) authLogin(initial string) (username, password string, ok bool) {
	u, ok := c.response("334 VXNlcm5hbWU6", initial) // "Username:"
	if !ok {
		return "", "", false
	}
	p, ok := c.response("334 UGFzc3dvcmQ6", "") // "Password:"
	return string(u), string(p), ok
}

// response decodes what came with the command, or asks for it.
func (c *upstreamConn) response(prompt, given string) ([]byte, bool) {
	if given == "" {
		c.reply("", prompt)
		var ok bool
		if given, ok = c.readLine(); !ok {
			return nil, false
		}
	}
	b, err := base64.StdEncoding.DecodeString(given)
	return b, err == nil
}
