package diagnose

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
)

// resolve looks up the addresses of the host.
func (c *checker) resolve(ctx context.Context) result {
	if c.Host == "" {
		return result{detail: "No server is entered.", advice: "Enter the name of the server, such as smtp.example.com."}
	}
	shown := mailtext.OneLine(c.Host, 254)
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", c.Host)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound, err == nil && len(addrs) == 0:
		return result{detail: fmt.Sprintf("There is no server with the name %s.", shown), advice: "Check the name for typos."}
	case err != nil:
		return result{detail: fmt.Sprintf("The address of %s could not be looked up.", shown), advice: "The DNS does not answer. Check the network, and try again."}
	}
	var list []string
	for _, a := range addrs {
		list = append(list, a.Unmap().String())
	}
	return result{ok: true, detail: fmt.Sprintf("%s is %s.", shown, strings.Join(list, ", "))}
}

// connect opens the connection.
func (c *checker) connect(ctx context.Context) result {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.address())
	var timeout net.Error
	switch {
	case err == nil:
		c.use(conn)
		return result{ok: true, detail: fmt.Sprintf("Port %d at %v answers.", c.Port, conn.RemoteAddr())}
	case errors.Is(err, syscall.ECONNREFUSED):
		return result{detail: fmt.Sprintf("Nothing answers at port %d.", c.Port), advice: "Check the port: it is 587 with STARTTLS, or 465 with TLS from the first byte."}
	case errors.As(err, &timeout) && timeout.Timeout():
		return result{detail: fmt.Sprintf("Port %d did not answer within %v.", c.Port, c.Timeout), advice: "A firewall on the way drops the connection. Allow outgoing connections to this port, or use the other one of 587 and 465."}
	}
	return result{detail: fmt.Sprintf("Port %d cannot be reached from here.", c.Port), advice: "Check the network and the port."}
}

// greeting waits for the server's first line, and introduces the client.
func (c *checker) greeting(context.Context) result {
	r, err := c.read()
	if err == nil && r.code == 220 {
		greeted := r
		if r, err = c.hello(); err == nil && r.code == 250 {
			return result{ok: true, detail: fmt.Sprintf("The server says: %s", c.quote(greeted))}
		}
	}
	switch {
	case err == nil && r.code < 500:
		return result{detail: fmt.Sprintf("The server is not ready: %s", c.quote(r)), advice: "Wait a minute and try again."}
	case err == nil:
		return result{detail: fmt.Sprintf("The server refused the connection: %s", c.quote(r)), advice: "Check the name of the server and the port."}
	}
	failed := c.broken(err)
	if !c.TLS && !errors.Is(err, errNotSMTP) {
		failed.advice = "This port may expect TLS from the first byte. Choose TLS (also called SSL) in the tool, or port 587 with STARTTLS."
	}
	return failed
}

// handshake switches to TLS. The certificate is looked at in the next step.
func (c *checker) handshake(ctx context.Context) result {
	if !c.TLS {
		if _, ok := c.extensions["STARTTLS"]; !ok {
			return result{detail: "The server offers no STARTTLS, so a password would cross the network in the clear.", advice: "Check the port. If it is right, something on the way removes the offer: try port 465 with TLS from the first byte."}
		}
		r, err := c.command("STARTTLS")
		switch {
		case err != nil:
			return c.broken(err)
		case r.code != 220:
			return result{detail: fmt.Sprintf("The server refused STARTTLS: %s", c.quote(r)), advice: "Wait a minute and try again."}
		}
	}
	config := &tls.Config{}
	if c.TLSConfig != nil {
		config = c.TLSConfig.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = c.Host
	}
	config.InsecureSkipVerify = true // certificate verifies, and nothing is sent before that
	config.VerifyPeerCertificate, config.VerifyConnection = nil, nil
	conn := tls.Client(c.conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return c.noTLS(err)
	}
	c.use(conn)
	c.state = conn.ConnectionState()
	if !c.TLS { // what the server offered before TLS does not count (RFC 3207 section 4.2)
		switch r, err := c.hello(); {
		case err != nil:
			return c.broken(err)
		case r.code != 250:
			return result{detail: fmt.Sprintf("The server refused to go on with TLS: %s", c.quote(r)), advice: "Wait a minute and try again."}
		}
	}
	return result{ok: true, detail: fmt.Sprintf("The connection is encrypted with %s.", tls.VersionName(c.state.Version))}
}

func (c *checker) noTLS(err error) result {
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &plain) && c.TLS:
		return result{detail: "The server does not speak TLS from the first byte at this port.", advice: "Choose STARTTLS in the tool, or port 465."}
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return c.broken(err)
	}
	return result{
		detail: "The server and this program do not agree on an encryption: " + mailtext.OneLine(err.Error(), 200),
		advice: "TLS 1.2 is the least. Update the older side.",
	}
}

// soon is when an expiry is near.
const soon = 14 * 24 * time.Hour

// certificate checks the dates, the name and the chain of the certificate.
func (c *checker) certificate(context.Context) result {
	chain, now := c.state.PeerCertificates, time.Now()
	leaf := chain[0]
	left := leaf.NotAfter.Sub(now)
	seen := fmt.Sprintf("The certificate is for %s, and valid until %s (%d days).", names(leaf), leaf.NotAfter.UTC().Format(time.DateOnly), int(left.Hours()/24))
	switch {
	case left < 0:
		return result{detail: fmt.Sprintf("The certificate has expired on %s.", leaf.NotAfter.UTC().Format(time.DateOnly)), advice: "The operator of the server has to renew it. If the date is wrong, check the clock of this computer."}
	case now.Before(leaf.NotBefore):
		return result{detail: fmt.Sprintf("The certificate is not valid before %s.", leaf.NotBefore.UTC().Format(time.DateOnly)), advice: "Check the clock of this computer."}
	}
	name := c.Host
	if c.TLSConfig != nil && c.TLSConfig.ServerName != "" {
		name = c.TLSConfig.ServerName
	}
	if leaf.VerifyHostname(name) != nil {
		return result{detail: fmt.Sprintf("The certificate is for %s, and not for %s.", names(leaf), mailtext.OneLine(name, 254)), advice: "Enter the name of the server exactly as you were told, and not its address."}
	}
	if err := c.verifyChain(chain, now); err != nil {
		return result{detail: "The certificate is not signed by an authority that is known here, or the server does not send the whole chain.", advice: "The operator of the server has to install a certificate with its whole chain. If a virus scanner or a firewall looks into connections, except this server."}
	}
	if left < soon {
		return result{ok: true, detail: seen, advice: "It has to be renewed soon. The operator of the server should find out why that has not happened yet."}
	}
	return result{ok: true, detail: seen}
}

func (c *checker) verifyChain(chain []*x509.Certificate, now time.Time) error {
	opts := x509.VerifyOptions{CurrentTime: now, Intermediates: x509.NewCertPool()}
	if c.TLSConfig != nil {
		opts.Roots = c.TLSConfig.RootCAs
	}
	for _, cert := range chain[1:] {
		opts.Intermediates.AddCert(cert)
	}
	_, err := chain[0].Verify(opts)
	return err
}

// names returns the names that a certificate is for, at most three of them.
func names(cert *x509.Certificate) string {
	list := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		list = append(list, ip.String())
	}
	switch {
	case len(list) == 0:
		return "no name"
	case len(list) > 3:
		list = append(list[:3:3], "others")
	}
	return mailtext.OneLine(strings.Join(list, ", "), 300)
}
