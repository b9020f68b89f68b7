// Package dkim signs messages on their way out (DKIM, RFC 6376), so that their
// recipients can tell that the sending domain vouches for them.
//
// A [Signer] is a [relay.Forwarder] that wraps the next one:
//
//	upstream := &smarthost.Forwarder{Addr: "smtp.example.com:587"}
//	signer := &dkim.Signer{
//		Keys: func(ctx context.Context, domain string) ([]dkim.Key, error) {
//			return product.KeysOf(domain)
//		},
//		Next: upstream,
//	}
//	srv.Forwarder = &queue.Queue{Spool: st, Next: signer}
//
// Behind the queue, as here, it signs bounces as well.
package dkim

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
)

// A Key is one DKIM key of a domain. Its public half is published as a TXT
// record at Selector._domainkey.domain (RFC 6376 section 3.6).
type Key struct {
	Selector string
	Signer   crypto.Signer // an RSA key of at least 1024 bits, better 2048, or an Ed25519 key (RFC 8463)
}

// A Signer signs each message for the domain in its From field and hands it to
// Next. It signs with relaxed canonicalization, so that what servers do to white
// space on the way breaks nothing, and signs From once more than it is there, so
// that nobody can add another. The fields signed are those of addresses, Subject,
// Date, Message-ID, and the ones that join messages, say what the content is, or
// are about lists (RFC 6376 section 5.4.1).
//
// A message that carries a valid signature for that domain already goes on as
// it is, unless its signatures are longer than 4 KiB. The fields must not be
// changed after the first Forward.
type Signer struct {
	// Keys returns the keys of a domain, in lower-case A-labels. With several
	// (RSA and Ed25519) the message gets a signature of each. Without any it
	// goes on unsigned. An error keeps it from being sent: it is worth a
	// retry, and holds up no other message. Required.
	Keys func(ctx context.Context, domain string) ([]Key, error)

	// Next takes the signed message. Required.
	Next relay.Forwarder

	// LookupTXT finds the key of a signature that a message came with, if it
	// is one for the domain in From. Nil means the system's resolver.
	LookupTXT func(ctx context.Context, name string) ([]string, error)

	// Logger gets troubles. Nil means slog.Default().
	Logger *slog.Logger

	signed memo
}

// Forward signs the message and forwards it. See [relay.Forwarder].
func (s *Signer) Forward(ctx context.Context, m *relay.Message) error {
	switch {
	case s.Keys == nil:
		return errors.New("dkim: Signer.Keys is required")
	case s.Next == nil:
		return errors.New("dkim: Signer.Next is required")
	}
	// A message is signed once, also if it goes to many destinations, or again.
	fields, err := s.signed.get(m, func() ([]byte, error) { return s.sign(ctx, m) })
	if err != nil {
		return ownError{fmt.Errorf("dkim: message %s: %w", m.ID, err)}
	}
	if len(fields) > 0 {
		m = m.Prepend(fields)
	}
	return s.Next.Forward(ctx, m)
}

// An ownError is a trouble with one message. A network error in it is about the way
// to the keys, and not to where Next sends mail.
type ownError struct{ error }

func (e ownError) Unwrap() error   { return e.error }
func (ownError) Unreachable() bool { return false }

// sign returns the signature fields for a message, or nothing if it is to go on
// as it is.
func (s *Signer) sign(ctx context.Context, m *relay.Message) ([]byte, error) {
	header, malformed, err := readHeader(m)
	if err != nil {
		return nil, err
	}
	if malformed != nil {
		// There is nothing here that a signature could stand for.
		s.logger().Warn("dkim: message goes unsigned", "id", m.ID, "error", malformed)
		return nil, nil
	}
	domain := fromDomain(header)
	if domain == "" {
		s.logger().Warn("dkim: message goes unsigned, its From names no domain", "id", m.ID)
		return nil, nil
	}
	keys, err := s.Keys(ctx, domain)
	if err != nil {
		return nil, fmt.Errorf("keys of %s: %w", domain, err)
	}
	if len(keys) == 0 || s.holds(ctx, m, header, domain) {
		return nil, nil
	}
	return signatures(m, header, domain, keys)
}

// signatures reads the message once for all its signatures.
func signatures(m *relay.Message, header textproto.MIMEHeader, domain string, keys []Key) ([]byte, error) {
	signers := make([]*dkim.Signer, len(keys))
	writers := make([]io.Writer, len(keys))
	defer func() {
		for _, signer := range signers {
			if signer != nil {
				signer.Close() // ends its goroutine; a second time does nothing
			}
		}
	}()
	for i, key := range keys {
		if !isSelector(key.Selector) {
			return nil, fmt.Errorf("the selector %q of %s is no part of a host name", key.Selector, domain)
		}
		signer, err := dkim.NewSigner(&dkim.SignOptions{
			Domain:                 domain,
			Selector:               key.Selector,
			Signer:                 key.Signer,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed,
			BodyCanonicalization:   dkim.CanonicalizationRelaxed,
			HeaderKeys:             signedFields(header),
		})
		if err != nil {
			return nil, fmt.Errorf("selector %q of %s: %w", key.Selector, domain, err)
		}
		signers[i], writers[i] = signer, signer
	}
	if _, err := io.Copy(io.MultiWriter(writers...), whole(m)); err != nil {
		return nil, err
	}
	var fields bytes.Buffer
	for i, signer := range signers {
		if err := signer.Close(); err != nil {
			return nil, err
		}
		fields.WriteString(signer.Signature())
		signers[i] = nil
	}
	return fields.Bytes(), nil
}

// isSelector reports whether a selector makes a name in the DNS (RFC 6376 section
// 3.1).
func isSelector(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return strings.Trim(s, allowed) == "" && !strings.Contains("."+s+".", "..") && len(s) <= 200
}

// whole is the content with an empty line at its end, which relaxed
// canonicalization leaves out again (RFC 6376 section 3.4.4), so that a message
// without a body has the line that ends its header.
func whole(m *relay.Message) io.Reader {
	return io.MultiReader(m.Content(), strings.NewReader("\r\n\r\n"))
}

// fields are what a reader sees or a program acts on (RFC 6376 section 5.4.1).
var fields = []string{
	"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID",
	"In-Reply-To", "References", "MIME-Version", "Content-Type",
	"Content-Transfer-Encoding", "Content-ID", "Content-Description",
	"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post",
	"List-Subscribe", "List-Post", "List-Owner", "List-Archive",
}

// signedFields names each of the fields as often as it is there, and From once
// more.
func signedFields(header textproto.MIMEHeader) []string {
	list := []string{"From"}
	for _, name := range fields {
		for range header.Values(name) {
			list = append(list, name)
		}
	}
	return list
}

// maxSignatures is how long the signatures of a message may be altogether, to be
// verified: for each field that one names the whole header is gone through.
const maxSignatures = 4 << 10

// holds reports whether the message carries a signature for the domain that is
// valid and covers From.
func (s *Signer) holds(ctx context.Context, m *relay.Message, header textproto.MIMEHeader, domain string) bool {
	if n := len(strings.Join(header.Values("DKIM-Signature"), "")); n == 0 || n > maxSignatures {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := dkim.VerifyWithOptions(whole(m), &dkim.VerifyOptions{
		LookupTXT:        func(name string) ([]string, error) { return s.lookup(ctx, name, domain) },
		MaxVerifications: 5,
	})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return false
	}
	for _, v := range found {
		if v.Err == nil && strings.EqualFold(v.Domain, domain) {
			return true
		}
	}
	return false
}

// lookup finds a key of the domain. Those of others are not looked for, so that
// nothing is computed for signatures that don't count here.
func (s *Signer) lookup(ctx context.Context, name, domain string) ([]string, error) {
	if !strings.HasSuffix(strings.ToLower(name), "._domainkey."+domain) {
		return nil, errors.New("of another domain")
	}
	lookup := s.LookupTXT
	if lookup == nil {
		lookup = net.DefaultResolver.LookupTXT
	}
	txts, err := lookup(ctx, name)
	if slices.ContainsFunc(txts, isTesting) {
		return nil, errors.New("a key that is being tested")
	}
	return txts, err
}

// isTesting reports whether a key is marked as one that is being tested: a message
// with its signature counts as unsigned (RFC 6376 section 3.6.1, flag y).
func isTesting(txt string) bool {
	for tag := range strings.SplitSeq(txt, ";") {
		name, value, _ := strings.Cut(tag, "=")
		flags := strings.Split(strings.Join(strings.Fields(value), ""), ":")
		if strings.TrimSpace(name) == "t" && slices.Contains(flags, "y") {
			return true
		}
	}
	return false
}

// readHeader reads the header of a message. What is wrong with the header is one
// thing, that it can't be read is another.
func readHeader(m *relay.Message) (header textproto.MIMEHeader, malformed, err error) {
	r := &noting{Reader: whole(m)}
	msg, malformed := mail.ReadMessage(r)
	if r.err != nil || malformed != nil {
		return nil, malformed, r.err
	}
	// White space before the colon still makes a field (RFC 5322 section 4.5).
	header = make(textproto.MIMEHeader)
	for _, name := range slices.Sorted(maps.Keys(msg.Header)) {
		key := textproto.CanonicalMIMEHeaderKey(strings.TrimRight(name, " \t"))
		header[key] = append(header[key], msg.Header[name]...)
	}
	return header, nil, nil
}

// A noting reader remembers why it couldn't go on.
type noting struct {
	io.Reader
	err error
}

func (r *noting) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// fromDomain returns the domain of the first address in From, or nothing if
// there is none that could have a key.
func fromDomain(header textproto.MIMEHeader) string {
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{CharsetReader: anyCharset}}
	list, err := parser.ParseList(header.Get("From"))
	if err != nil || len(list) == 0 {
		return ""
	}
	addr := list[0].Address
	name, err := credentials.NormalizeDomain(addr[strings.LastIndexByte(addr, '@')+1:])
	if err != nil {
		return ""
	}
	return name
}

// anyCharset lets every display name pass; nobody looks at it here.
func anyCharset(_ string, r io.Reader) (io.Reader, error) { return r, nil }

func (s *Signer) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.Default()
}
