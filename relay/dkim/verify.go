package dkim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/gatepost-mail/gatepost/internal/mailheader"
	"github.com/gatepost-mail/gatepost/relay"
)

// The limits of verifying the signatures that a message came with.
const (
	maxSignatures    = 4 << 10 // bytes altogether; verifying takes longer for each field that they name
	maxVerifications = 5
	verifyTimeout    = 10 * time.Second
)

// A signature is what we need from a DKIM-Signature field.
type signature struct {
	domain, algorithm, keyName string
	forSubdomain               bool // i= names another domain than d=
}

// missing returns the keys without those that a signature of the message stands in
// for. until is the earliest time at which such a signature expires, or zero.
func (s *Signer) missing(ctx context.Context, m *relay.Message, header []byte, keys []Key) (left []Key, until time.Time) {
	signatures := readSignatures(header)
	ours := func(sig signature) bool {
		return slices.ContainsFunc(keys, func(k Key) bool { return k.Domain == sig.domain })
	}
	if !slices.ContainsFunc(signatures, ours) {
		return keys, time.Time{}
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	found, err := dkim.VerifyWithOptions(whole(m), &dkim.VerifyOptions{
		LookupTXT:        func(name string) ([]string, error) { return s.lookup(ctx, name, signatures, ours) },
		MaxVerifications: maxVerifications,
	})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return keys, time.Time{}
	}
	valid := signatures[:0]
	for i, v := range found {
		if v.Err != nil || i >= len(signatures) {
			continue
		}
		valid = append(valid, signatures[i])
		if !v.Expiration.IsZero() && (until.IsZero() || v.Expiration.Before(until)) {
			until = v.Expiration
		}
	}
	for _, k := range keys {
		if !slices.ContainsFunc(valid, func(sig signature) bool {
			return sig.domain == k.Domain && (sig.algorithm == "rsa" || sig.algorithm == k.algorithm())
		}) {
			left = append(left, k)
		}
	}
	return left, until
}

// whole is the content with an empty line at its end, which relaxed
// canonicalization leaves out again (RFC 6376 section 3.4.4). It gives a message
// without a body the line that ends its header.
func whole(m *relay.Message) io.Reader {
	return io.MultiReader(m.Content(), strings.NewReader("\r\n\r\n"))
}

// readSignatures returns the signatures of a header, or none if they are too long.
func readSignatures(header []byte) (list []signature) {
	size := 0
	for name, value := range mailheader.Fields(header) {
		if !strings.EqualFold(name, "DKIM-Signature") {
			continue
		}
		if size += len(value); size > maxSignatures {
			return nil
		}
		tags := readTags(string(bytes.ReplaceAll(value, []byte("\r\n"), nil)))
		algorithm, _, _ := strings.Cut(tags["a"], "-")
		domain := strings.ToLower(tags["d"])
		identity, ok := tags["i"]
		list = append(list, signature{
			domain:       domain,
			algorithm:    algorithm,
			keyName:      strings.ToLower(tags["s"] + "._domainkey." + tags["d"]),
			forSubdomain: ok && !strings.EqualFold(identity[strings.LastIndexByte(identity, '@')+1:], domain),
		})
	}
	return list
}

// readTags reads a tag list (RFC 6376 section 3.2). The values have no white space.
func readTags(list string) map[string]string {
	tags := make(map[string]string)
	for tag := range strings.SplitSeq(list, ";") {
		name, value, ok := strings.Cut(tag, "=")
		if ok {
			tags[strings.TrimSpace(name)] = strings.Join(strings.Fields(value), "")
		}
	}
	return tags
}

// lookup finds the key of a signature that is ours. It refuses others, so that
// nothing is computed for a signature that does not count here.
func (s *Signer) lookup(ctx context.Context, name string, signatures []signature, ours func(signature) bool) ([]string, error) {
	forSubdomain := false
	known := false
	for _, sig := range signatures {
		if strings.EqualFold(sig.keyName, name) && ours(sig) {
			known = true
			forSubdomain = forSubdomain || sig.forSubdomain
		}
	}
	if !known {
		return nil, errors.New("the key of another domain")
	}
	lookup := s.LookupTXT
	if lookup == nil {
		lookup = net.DefaultResolver.LookupTXT
	}
	records, err := lookup(ctx, name)
	for _, record := range records {
		flags := strings.Split(readTags(record)["t"], ":")
		switch {
		case slices.Contains(flags, "y"): // a message with its signature counts as unsigned (RFC 6376 section 3.6.1)
			return nil, errors.New("a key that is being tested")
		case slices.Contains(flags, "s") && forSubdomain:
			return nil, errors.New("a key that must not sign for a subdomain")
		}
	}
	return records, err
}
