package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// A TLSMode says how a connection is protected.
type TLSMode int

// The modes. Certificates are verified unless TLSConfig says otherwise.
const (
	Required      TLSMode = iota // STARTTLS; without it nothing is sent
	Implicit                     // TLS from the first byte (RFC 8314)
	Opportunistic                // STARTTLS if it is offered
	None                         // no TLS
)

// A Dialer says how to connect to a server. It must not be changed while it is
// in use.
type Dialer struct {
	Addr string // host and port to connect to

	// DialContext makes the connection; nil means a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	Host string // the server's name, for its certificate and for errors; "" means the host of Addr

	TLS       TLSMode
	TLSConfig *tls.Config // nil means the defaults

	Username string // "" means no login
	Password credentials.Password

	// Hostname is the name given with EHLO. "" means the system's, or if that is
	// not a full name, the address that the connection comes from.
	Hostname string

	MaxRecipients int  // in a transaction; 0 means 100. A server's LIMITS may lower it
	NoChunking    bool // send DATA even if the server offers CHUNKING

	Timeout    time.Duration // for each step but the last; 0 means the times of RFC 5321 section 4.5.3.2
	EndTimeout time.Duration // for the answer to the content; 0 means 10 minutes
}

// Dial connects to the server and does everything up to the first message.
// Its errors are of type *Error.
func (d *Dialer) Dial(ctx context.Context) (*Conn, error) {
	host := d.Host
	if host == "" {
		host, _, _ = net.SplitHostPort(d.Addr)
	}
	times := timeouts{d.Timeout, d.EndTimeout}
	raw, err := d.connect(ctx, times.of(Connect))
	if err != nil {
		return nil, &Error{Host: host, Step: Connect, Err: err, Lost: true}
	}
	c := newConn(raw, host, times)
	c.begin(ctx)
	err = c.setup(d)
	c.end()
	if err == nil && !c.usable {
		err = &Error{Host: host, Step: Auth, Err: context.Cause(ctx), Lost: true}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// connect makes the TCP connection.
func (d *Dialer) connect(ctx context.Context, limit time.Duration) (net.Conn, error) {
	if d.DialContext == nil {
		return (&net.Dialer{Timeout: limit}).DialContext(ctx, "tcp", d.Addr)
	}
	dialCtx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	raw, err := d.DialContext(dialCtx, "tcp", d.Addr)
	if err != nil && ctx.Err() == nil && dialCtx.Err() != nil {
		return nil, timeoutError(limit)
	}
	return raw, err
}

// setup does everything from the greeting to the login.
func (c *Conn) setup(d *Dialer) error {
	name, err := helloName(d.Hostname, c.raw.LocalAddr())
	if err != nil {
		return &Error{Host: c.host, Step: Hello, Err: err}
	}
	if d.TLS == Implicit {
		if err := c.handshake(d.tlsConfig(c.host)); err != nil {
			return err
		}
	}
	if err := c.expect(Greeting, 220); err != nil {
		return err
	}
	if err := c.hello(name, d.TLS); err != nil {
		return err
	}
	if d.TLS == Required || d.TLS == Opportunistic && c.ext.startTLS {
		if err := c.startTLS(name, d); err != nil {
			return err
		}
	}
	if d.Username != "" {
		if err := c.login(d.Username, d.Password, d.TLS); err != nil {
			return err
		}
	}
	c.usable = true
	c.limits(d)
	return nil
}

// limits applies what the Dialer and the server say about the size of a
// transaction and of a session.
func (c *Conn) limits(d *Dialer) {
	if d.MaxRecipients > 0 {
		c.maxRcpt = d.MaxRecipients
	}
	if n := c.ext.maxRcpt; n > 0 {
		c.maxRcpt = min(c.maxRcpt, n)
	}
	if n := c.ext.maxMail; n > 0 {
		c.maxMessages = min(c.maxMessages, n)
	}
	c.ext.chunking = c.ext.chunking && !d.NoChunking
}

func (c *Conn) startTLS(name string, d *Dialer) error {
	if !c.ext.startTLS {
		return &Error{Host: c.host, Step: StartTLS, Err: ErrNoTLS}
	}
	if err := c.command(StartTLS, "STARTTLS", 220); err != nil {
		return err
	}
	// Bytes after the reply arrived without TLS. An attacker may have sent them, to be
	// taken for a reply under TLS.
	if c.r.Buffered() > 0 {
		return c.fail(StartTLS, errors.New("the server sent more than the reply"))
	}
	if err := c.handshake(d.tlsConfig(c.host)); err != nil {
		return err
	}
	return c.hello(name, d.TLS) // RFC 3207 section 4.2: the first EHLO reply is void
}

// tlsConfig returns the configuration for one connection.
func (d *Dialer) tlsConfig(host string) *tls.Config {
	cfg := d.TLSConfig.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	// By default the first records of a connection are small. Without that, a small
	// message is one record and one system call.
	cfg.DynamicRecordSizingDisabled = true
	return cfg
}

// hello sends EHLO. It falls back to HELO only if the server refuses EHLO with 5yz and
// TLS is not required.
func (c *Conn) hello(name string, mode TLSMode) error {
	c.ext = extensions{}
	if err := c.write(Hello, []byte("EHLO "+name+"\r\n")); err != nil {
		return err
	}
	rp, err := c.read(Hello)
	switch {
	case err != nil:
		return err
	case rp.code == 250:
		c.ext = parseExtensions(rp.text)
		return nil
	case rp.code/100 == 5 && (mode == None || mode == Opportunistic):
		return c.command(Hello, "HELO "+name, 250) // RFC 5321 section 3.2
	}
	return c.refuse(Hello, rp)
}

// helloName returns the name for EHLO: a domain name, or an address literal
// (RFC 5321 section 4.1.4).
func helloName(name string, local net.Addr) (string, error) {
	if name != "" {
		if !validHello(name) {
			return "", errors.New("the Hostname for EHLO is not a host name")
		}
		return name, nil
	}
	if name, err := os.Hostname(); err == nil && strings.Contains(name, ".") && validHello(name) {
		return name, nil
	}
	if tcp, ok := local.(*net.TCPAddr); ok {
		ip := tcp.AddrPort().Addr().Unmap().WithZone("")
		if ip.Is6() {
			return "[IPv6:" + ip.String() + "]", nil
		}
		return "[" + ip.String() + "]", nil
	}
	return "localhost", nil
}

// validHello reports whether a name can stand in an EHLO command.
func validHello(name string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_[]:"
	return len(name) <= 255 && strings.Trim(name, allowed) == ""
}

// extensions are what a server offers (RFC 5321 section 4.1.1.1).
type extensions struct {
	startTLS, pipelining, chunking, eightBit, utf8, dsn, requireTLS bool

	size  int64    // the largest message; 0 if the server names no limit
	sized bool     // SIZE is offered (RFC 1870)
	auth  []string // SASL mechanisms

	maxMail, maxRcpt, maxDomains int // LIMITS (RFC 9422); 0 if the server names no limit
}

// parseExtensions reads the text of an EHLO reply.
func parseExtensions(text []byte) extensions {
	var x extensions
	first := true
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(strings.ToUpper(line))
		if first || len(words) == 0 { // the first line is a greeting
			first = false
			continue
		}
		x.add(words[0], words[1:])
	}
	return x
}

func (x *extensions) add(keyword string, args []string) {
	if rest, ok := strings.CutPrefix(keyword, "AUTH="); ok { // servers wrote it so before RFC 2554
		keyword, args = "AUTH", append([]string{rest}, args...)
	}
	switch keyword {
	case "STARTTLS":
		x.startTLS = true
	case "PIPELINING":
		x.pipelining = true
	case "CHUNKING":
		x.chunking = true
	case "8BITMIME":
		x.eightBit = true
	case "SMTPUTF8":
		x.utf8 = true
	case "DSN":
		x.dsn = true
	case "REQUIRETLS":
		x.requireTLS = true
	case "AUTH":
		x.auth = append(x.auth, args...)
	case "LIMITS":
		x.limits(args)
	case "SIZE":
		x.sized = true
		if len(args) > 0 {
			x.size, _ = strconv.ParseInt(args[0], 10, 64)
		}
	}
}

// limits reads the parameters of LIMITS (RFC 9422 section 3). Unknown ones are
// ignored.
func (x *extensions) limits(args []string) {
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			continue
		}
		switch name {
		case "MAILMAX":
			x.maxMail = n
		case "RCPTMAX":
			x.maxRcpt = n
		case "RCPTDOMAINMAX":
			x.maxDomains = n
		}
	}
}
