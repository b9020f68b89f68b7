package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
)

// passwordVariable is where the upstream's password comes from: other users of
// the machine can read a command line.
const passwordVariable = "GATEPOST_UPSTREAM_PASSWORD"

// parseUpstream makes a Forwarder of the URL that -upstream takes. Its errors
// don't repeat the URL, which may hold a password after all.
func parseUpstream(text string) (*smarthost.Forwarder, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.Fragment != "" {
		return nil, errors.New("use smtp://user@host:port or smtps://user@host:port")
	}
	f := &smarthost.Forwarder{
		Username: u.User.Username(),
		Logger:   slog.New(slog.DiscardHandler), // the printer tells of each message
	}
	switch u.Scheme {
	case "smtp":
		f.Addr = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "587"))
	case "smtps":
		f.TLS = smarthost.ImplicitTLS
		f.Addr = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "465"))
	default:
		return nil, errors.New("the URL begins with smtp:// (for STARTTLS) or smtps:// (for TLS from the first byte)")
	}
	if _, ok := u.User.Password(); ok {
		return nil, fmt.Errorf("leave the password out of the URL and set %s", passwordVariable)
	}
	if f.Username != "" {
		password := os.Getenv(passwordVariable)
		if password == "" {
			return nil, fmt.Errorf("set %s to the password of the user in the URL", passwordVariable)
		}
		f.Password = credentials.NewPassword(password)
	}
	return f, protect(f, u.RawQuery)
}

// protect sets what the URL's query says of TLS.
func protect(f *smarthost.Forwarder, query string) error {
	switch {
	case query == "":
	case query == "tls=skip-verify":
		f.TLSConfig = &tls.Config{InsecureSkipVerify: true}
	case query == "tls=none" && f.TLS == smarthost.StartTLS:
		f.TLS = smarthost.NoTLS
	default:
		return errors.New("after the port there may be ?tls=skip-verify, or for smtp:// ?tls=none, and nothing else")
	}
	return nil
}
