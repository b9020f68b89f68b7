package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
)

// A Key is one DKIM key of a domain. Its public half is published as a TXT record
// (RFC 6376 section 3.6): see Record.
type Key struct {
	Selector string

	// Signer is an RSA key of at least 1024 bits, better 2048, or an Ed25519 key
	// (RFC 8463). Not all receivers verify Ed25519, so a domain with such a key
	// needs one of RSA as well.
	Signer crypto.Signer

	// Domain is the domain that signs, the tag d=. Empty means the author's
	// domain, which is what DMARC asks for. Another domain makes a second signature,
	// such as that of the provider that runs the relay. Receivers may send that
	// domain feedback reports.
	Domain string
}

// GenerateRSA returns a new RSA key of 2048 bits, which every receiver can verify.
func GenerateRSA() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }

// MarshalPEM returns a key as PEM text of type PRIVATE KEY (PKCS #8, RFC 5958). It
// is secret.
func MarshalPEM(key crypto.Signer) ([]byte, error) {
	if err := check(key); err != nil {
		return nil, fmt.Errorf("dkim: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("dkim: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParsePEM reads a key from PEM text of type PRIVATE KEY (PKCS #8) or RSA PRIVATE KEY
// (PKCS #1). It checks the key, which takes far longer than signing with Ed25519:
// call it once and keep the key.
func ParsePEM(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("dkim: no PEM block found")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("dkim: PEM block of type %q, want PRIVATE KEY or RSA PRIVATE KEY", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("dkim: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("dkim: key of type %T cannot sign, want RSA or Ed25519", key)
	}
	if err := check(signer); err != nil {
		return nil, fmt.Errorf("dkim: %w", err)
	}
	return signer, nil
}

// minBits is the least size of an RSA key (RFC 8301 section 3.2).
const minBits = 1024

// check reports whether a key can sign.
func check(key crypto.Signer) error {
	if key == nil {
		return errors.New("no key")
	}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minBits {
			return fmt.Errorf("RSA key of %d bits, want at least %d", bits, minBits)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("key of type %T, want RSA or Ed25519", public)
	}
	return nil
}

// algorithm returns the key's type as tags name it. The key must have been checked.
func (k Key) algorithm() string {
	if _, ok := k.Signer.Public().(ed25519.PublicKey); ok {
		return "ed25519"
	}
	return "rsa"
}

// withDomain returns the keys with the Domain of one filled in and everything about
// that key checked. It does not change the caller's slice.
func withDomain(keys []Key, i int, author string) ([]Key, error) {
	k := keys[i]
	domain, err := author, error(nil)
	if k.Domain != "" {
		domain, err = credentials.NormalizeDomain(k.Domain)
	}
	if err == nil {
		err = check(k.Signer)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("selector %q of %s: %w", k.Selector, author, err)
	case !isSelector(k.Selector):
		return nil, fmt.Errorf("the selector %q of %s is not part of a host name", k.Selector, domain)
	}
	if i == 0 {
		keys = slices.Clone(keys)
	}
	keys[i].Domain = domain
	return keys, nil
}

// isSelector reports whether a selector makes a name in the DNS (RFC 6376 section
// 3.1).
func isSelector(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return strings.Trim(s, allowed) == "" && !strings.Contains("."+s+".", "..") && len(s) <= 200
}

// maxString is the most bytes of one string of a TXT record (RFC 1035 section 3.3).
const maxString = 255

// Record returns the TXT record that publishes the key, at RecordName. A TXT record
// consists of strings of at most 255 bytes; the record's text is what they are
// joined to, without anything in between. An RSA key of 2048 bits takes two.
func (k Key) Record() ([]string, error) {
	if err := check(k.Signer); err != nil {
		return nil, fmt.Errorf("dkim: selector %q: %w", k.Selector, err)
	}
	public, err := publicKey(k.Signer)
	if err != nil {
		return nil, fmt.Errorf("dkim: selector %q: %w", k.Selector, err)
	}
	text := "v=DKIM1; k=" + k.algorithm() + "; p=" + public
	var list []string
	for len(text) > maxString {
		list = append(list, text[:maxString])
		text = text[maxString:]
	}
	return append(list, text), nil
}

// RecordName returns the name of the TXT record of a key of domain, such as
// s1._domainkey.acme.example. If the key has a Domain, it counts instead.
func (k Key) RecordName(domain string) string {
	if k.Domain != "" {
		domain = k.Domain
	}
	return k.Selector + "._domainkey." + domain
}

// publicKey returns the tag p= of a record (RFC 6376 section 3.6.1, RFC 8463 section
// 4).
func publicKey(key crypto.Signer) (string, error) {
	if public, ok := key.Public().(ed25519.PublicKey); ok {
		return base64.StdEncoding.EncodeToString(public), nil
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	return base64.StdEncoding.EncodeToString(der), err
}
