package webhook

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
)

// An Endpoint is a URL that a tenant wants events at.
type Endpoint struct {
	// ID names the endpoint among those of its tenant: 1 to 64 letters, digits,
	// "-" and "_". It stays when the rest changes.
	ID string

	// URL is where requests go. It must be an https URL, unless Sender.AllowHTTP is
	// set. A user and password in it are sent as Basic authentication.
	URL string

	// Secrets sign the requests: see [NewSecret]. A request has a signature of each.
	// So a tenant can change its secret without a gap: add the new secret, and
	// remove the old one when the receiver knows the new one. At least one and at
	// most 8.
	Secrets []credentials.Password

	// Types are the types of the events that the endpoint wants. "message.*" means
	// all that begin with "message.". Empty means all. Types applies when an event
	// is published, all other fields when it is sent.
	Types []string
}

const (
	secretPrefix = "whsec_"

	// The lengths of a secret in bytes, as Standard Webhooks says.
	minSecret = 24
	maxSecret = 64

	maxSecrets = 8
)

// NewSecret returns a new secret: "whsec_" and 32 random bytes in base64.
func NewSecret() credentials.Password {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return credentials.NewPassword(secretPrefix + base64.StdEncoding.EncodeToString(b))
}

// keyOf returns the bytes of a secret. The error does not show the secret.
func keyOf(secret credentials.Password) ([]byte, error) {
	text, ok := strings.CutPrefix(secret.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, errors.New("webhook: a secret is not whsec_ and 24 to 64 bytes in base64")
	}
	return key, nil
}

// keys returns the bytes of all secrets.
func (e *Endpoint) keys() ([][]byte, error) {
	if len(e.Secrets) == 0 || len(e.Secrets) > maxSecrets {
		return nil, fmt.Errorf("webhook: the endpoint has %d secrets, want 1 to %d", len(e.Secrets), maxSecrets)
	}
	keys := make([][]byte, len(e.Secrets))
	for i, secret := range e.Secrets {
		key, err := keyOf(secret)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	return keys, nil
}

// target parses URL. The error does not show it, because a URL may hold a password.
func (e *Endpoint) target(allowHTTP bool) (*url.URL, error) {
	u, err := url.Parse(e.URL)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, errors.New("webhook: the endpoint's URL is not an absolute URL with a host")
	case u.Scheme != "https" && (u.Scheme != "http" || !allowHTTP):
		return nil, errors.New("webhook: the endpoint's URL does not begin with https://")
	}
	return u, nil
}

// CheckURL returns why a text cannot be the URL of an endpoint, in words that may be
// shown to the tenant and without a password that it holds. It is for forms: nothing is
// sent, and no name is looked up. A name that leads to an address that is not allowed is
// refused when an event is sent; see [Sender.Test].
func (s *Sender) CheckURL(text string) error {
	u, err := (&Endpoint{URL: text}).target(s.AllowHTTP)
	if err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := s.allows(addr); err != nil {
			return fmt.Errorf("webhook: %w", err)
		}
	}
	return nil
}

// wants reports whether the endpoint wants events of a type.
func (e *Endpoint) wants(kind string) bool {
	for _, t := range e.Types {
		prefix, all := strings.CutSuffix(t, "*")
		if t == kind || all && strings.HasSuffix(prefix, ".") && strings.HasPrefix(kind, prefix) {
			return true
		}
	}
	return len(e.Types) == 0
}

// isName reports whether s has 1 to max letters, digits, "-" and "_".
func isName(s string, max int) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != "" && len(s) <= max
}
