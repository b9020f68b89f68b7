package diagnose

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// A Target is what a tool is set to.
type Target struct {
	Host string // the server's name, which its certificate must have. Required.

	// Port is the server's port. Zero means 465 with TLS set, and otherwise 587.
	Port int

	// TLS means TLS from the first byte, as on port 465. Otherwise STARTTLS is
	// required.
	TLS bool

	// Username and Password are what the tool logs in with. If Username is empty,
	// nothing is tried after the certificate. The login is a real one: it moves the last
	// connection of the user, and counts as a use of the password. An empty Password is
	// not tried. The password is sent only to a server whose
	// certificate is valid. It is in no Step, even if the server repeats it.
	Username string
	Password credentials.Password

	// From is the address that the tool sends from. If it is empty, MAIL is not
	// tried.
	From string

	// TLSConfig has the roots that certificates are checked against. Nil means those of the
	// system.
	TLSConfig *tls.Config

	// Timeout is the maximum time of each step. Zero means 10 seconds.
	Timeout time.Duration
}

// A Step is one thing that was tried.
type Step struct {
	// Name is "resolve", "connect", "greeting", "tls", "certificate", "auth" or
	// "mail". With Target.TLS the greeting comes after the certificate.
	Name string

	OK   bool
	Took time.Duration

	// Detail is what was seen, in a sentence. It may quote the server, made
	// printable, and never holds the password.
	Detail string

	// Advice says what to do. It is empty if there is nothing to do.
	Advice string
}

// Check connects to t as a tool would, and returns what it tried, in order. It stops
// at the first step that fails, which is then the last one. It sends no message. Each
// step ends after Timeout. If ctx ends, the step in progress fails.
func Check(ctx context.Context, t Target) []Step {
	c := &checker{Target: t}
	c.Host = strings.TrimSuffix(strings.TrimSpace(t.Host), ".")
	c.Timeout = cmp.Or(max(t.Timeout, 0), 10*time.Second)
	if c.Port == 0 {
		c.Port = 587
		if c.TLS {
			c.Port = 465
		}
	}
	defer c.close()
	for _, s := range c.plan() {
		if !c.try(ctx, s.name, s.do) {
			break
		}
	}
	return c.steps
}

// A checker is a Check in progress.
type checker struct {
	Target
	steps []Step

	conn       net.Conn
	text       *bufio.Reader
	extensions map[string]string // of the last EHLO, in upper case
	state      tls.ConnectionState
}

// A planned is a step to come. do returns what was seen, and what to do if that is
// a failure.
type planned struct {
	name string
	do   func(context.Context) result
}

type result struct {
	ok             bool
	detail, advice string
}

// plan returns the steps for the target.
func (c *checker) plan() []planned {
	greeting := planned{"greeting", c.greeting}
	secure := []planned{{"tls", c.handshake}, {"certificate", c.certificate}}
	plan := []planned{{"resolve", c.resolve}, {"connect", c.connect}}
	if c.TLS {
		plan = append(append(plan, secure...), greeting)
	} else {
		plan = append(append(plan, greeting), secure...)
	}
	if c.Username == "" {
		return plan
	}
	plan = append(plan, planned{"auth", c.auth})
	if c.From != "" {
		plan = append(plan, planned{"mail", c.mail})
	}
	return plan
}

// try runs a step within the timeout. It returns false if the step failed.
func (c *checker) try(ctx context.Context, name string, do func(context.Context) result) bool {
	step, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if conn := c.conn; conn != nil {
		conn.SetDeadline(time.Time{})
		defer context.AfterFunc(step, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	}
	began := time.Now()
	r := do(step)
	if err := ctx.Err(); err != nil && !r.ok {
		r.detail, r.advice = "The check was stopped: "+err.Error()+".", "Run it again."
	}
	c.steps = append(c.steps, Step{
		Name: name, OK: r.ok, Took: time.Since(began), Detail: c.withoutPassword(r.detail), Advice: c.withoutPassword(r.advice),
	})
	return r.ok
}

// close ends the session politely if the server is still listening.
func (c *checker) close() {
	if c.conn == nil {
		return
	}
	if n := len(c.steps); n > 0 && c.steps[n-1].OK {
		c.conn.SetDeadline(time.Now().Add(time.Second))
		c.command("QUIT")
	}
	c.conn.Close()
}

// address is the host and the port, as in a net.Dial.
func (c *checker) address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }
