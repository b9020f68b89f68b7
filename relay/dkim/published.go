package dkim

import (
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Errors of Published. Match them with errors.Is.
var (
	// ErrNotPublished means that the key's name has no TXT record.
	ErrNotPublished = errors.New("no DKIM record")

	// ErrSeveralRecords means that there is more than one. Receivers may then
	// take any of them, or none (RFC 6376 section 3.6.2.2).
	ErrSeveralRecords = errors.New("several TXT records")

	// ErrOtherKey means that the record publishes another key, which is what an
	// old record looks like.
	ErrOtherKey = errors.New("the record publishes another key")

	// ErrUnusable means that receivers do not accept signatures by the record: it
	// cannot be read, the key is revoked or being tested, or it is not for mail
	// or not for SHA-256.
	ErrUnusable = errors.New("unusable DKIM record")
)

// Published checks that the DNS publishes a key of a domain, which is the author's
// domain in lower-case A-labels; if the key has a Domain, it counts instead. It
// returns nil if receivers find the key. Otherwise the error is ErrNotPublished,
// ErrSeveralRecords, ErrOtherKey or ErrUnusable with details. Any other error means
// that the look-up failed and the record is unknown: try again later.
//
// lookup returns the text of each TXT record of a name, as
// [net.Resolver.LookupTXT] does, and a [*net.DNSError] with IsNotFound if there is
// none. Nil means the system's resolver.
func Published(ctx context.Context, lookup func(ctx context.Context, name string) ([]string, error), domain string, key Key) error {
	if err := check(key.Signer); err != nil {
		return fmt.Errorf("dkim: selector %q: %w", key.Selector, err)
	}
	if lookup == nil {
		lookup = net.DefaultResolver.LookupTXT
	}
	name := key.RecordName(domain)
	records, err := lookup(ctx, name)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound, err == nil && len(records) == 0:
		return fmt.Errorf("dkim: %w at %s", ErrNotPublished, name)
	case err != nil:
		return fmt.Errorf("dkim: look-up of %s failed: %w", name, err)
	case len(records) > 1:
		return fmt.Errorf("dkim: %w at %s: there are %d, want one", ErrSeveralRecords, name, len(records))
	}
	if err := checkRecord(records[0], key); err != nil {
		return fmt.Errorf("dkim: %s: %w", name, err)
	}
	return nil
}

// checkRecord compares a record with a key.
func checkRecord(record string, key Key) error {
	tags := readTags(record)
	list := func(tag string) []string { return strings.Split(tags[tag], ":") }
	unusable := func(why string) error { return fmt.Errorf("%w: %s", ErrUnusable, why) }
	public, ok := tags["p"]
	version, hasVersion := tags["v"]
	_, hasHashes := tags["h"]
	_, hasServices := tags["s"]
	switch {
	case hasVersion && version != "DKIM1":
		return unusable(fmt.Sprintf("version %q, want DKIM1", version))
	case !ok:
		return unusable("it has no tag p=")
	case public == "":
		return unusable("the key is revoked, its tag p= is empty")
	case slices.Contains(list("t"), "y"):
		return unusable("the key is marked as being tested, t=y")
	case hasHashes && !slices.Contains(list("h"), "sha256"):
		return unusable("the key is not for SHA-256, h=" + tags["h"])
	case hasServices && !slices.Contains(list("s"), "*") && !slices.Contains(list("s"), "email"):
		return unusable("the key is not for mail, s=" + tags["s"])
	}
	published, err := base64.StdEncoding.DecodeString(public)
	if err != nil {
		return unusable("its tag p= is not base64")
	}
	kind := tags["k"]
	if kind == "" {
		kind = "rsa"
	}
	if kind != key.algorithm() {
		return fmt.Errorf("%w, of type %s, want %s", ErrOtherKey, kind, key.algorithm())
	}
	if !samePublicKey(published, key) {
		return ErrOtherKey
	}
	return nil
}

// samePublicKey compares the content of the tag p= with a key. An RSA key is a
// SubjectPublicKeyInfo, or an RSAPublicKey, which receivers accept as well.
func samePublicKey(published []byte, key Key) bool {
	switch public := key.Signer.Public().(type) {
	case ed25519.PublicKey:
		return public.Equal(ed25519.PublicKey(published))
	case *rsa.PublicKey:
		if parsed, err := x509.ParsePKIXPublicKey(published); err == nil {
			return public.Equal(parsed)
		}
		parsed, err := x509.ParsePKCS1PublicKey(published)
		return err == nil && public.Equal(parsed)
	}
	return false
}
