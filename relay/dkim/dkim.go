// Package dkim signs messages on their way out (DKIM, RFC 6376), so that their
// recipients can tell that the sending domain vouches for them.
//
// A [Signer] is a [relay.Forwarder] that wraps the next one:
//
//	upstream := &smarthost.Forwarder{Addr: "smtp.example.com:587"}
//	signer := &dkim.Signer{
//		Keys: func(ctx context.Context, m *relay.Message, domain string) ([]dkim.Key, error) {
//			return product.KeysOf(domain)
//		},
//		Next: upstream,
//	}
//	srv.Forwarder = &queue.Queue{Spool: st, Next: signer}
//
// Behind the queue, as here, it signs bounces as well.
//
// [GenerateRSA] makes a key, [MarshalPEM] and [ParsePEM] keep it in a file or
// database, [Key.Record] is the TXT record that the domain's owner has to publish,
// and [Published] checks that it is there.
package dkim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/mailheader"
	"github.com/gatepost-mail/gatepost/relay"
)

// A Signer signs each message for the domain of its author, which is the first
// address in From, and hands it to Next. It signs with relaxed canonicalization,
// so that changes of white space on the way break nothing.
//
// It signs the fields that a reader sees or a program acts on (RFC 6376 section
// 5.4.1). A signature names From, Subject, To, Cc, Date, Reply-To, Content-Type and
// MIME-Version once more than the message has them, so that adding one breaks it.
//
// A key is left out if the message came with a valid signature for the key's
// domain that receivers will accept in its place: of the same algorithm, or RSA,
// which all receivers verify. That signature must not be longer than 4 KiB
// together with the others.
//
// A message that cannot be signed is never sent. If its From cannot be read, or its
// header is over 1 MiB, it is refused for good with a [*relay.ReplyError]. Any
// other error is worth a retry. It goes on unsigned only if there are no keys.
// The fields must not be changed after the first Forward.
type Signer struct {
	// Keys returns the keys to sign a message with. The domain is that of its author, in
	// lower-case A-labels. m.Identity says who sent the message; it is empty for a bounce.
	// If a domain may pass from one tenant to another, Keys must return none for the mail
	// of the former. If there are several keys (RSA and Ed25519, or one of another
	// Key.Domain), the message gets a signature of each. If there are none, the message is
	// passed on unsigned. Keys is called for each message, so it should return keys that
	// are parsed already. Required.
	Keys func(ctx context.Context, m *relay.Message, domain string) ([]Key, error)

	// Next takes the signed message. Required.
	Next relay.Forwarder

	// LookupTXT finds the key of a signature that a message came with, if it is
	// one for the domain of a key. Nil means the system's resolver.
	LookupTXT func(ctx context.Context, name string) ([]string, error)

	// Logger gets warnings. Nil means slog.Default().
	Logger *slog.Logger

	signed memo
}

// maxHeader is the most bytes that a header may have.
const maxHeader = 1 << 20

// Check returns what is wrong with the fields of the Signer or of Next.
func (s *Signer) Check() error {
	if err := s.checkFields(); err != nil {
		return err
	}
	return relay.CheckForwarder(s.Next)
}

// checkFields returns what is wrong with the fields of the Signer alone.
func (s *Signer) checkFields() error {
	switch {
	case s.Keys == nil:
		return errors.New("dkim: Signer.Keys is required")
	case s.Next == nil:
		return errors.New("dkim: Signer.Next is required")
	}
	return nil
}

// Forward signs the message and forwards it. See [relay.Forwarder].
func (s *Signer) Forward(ctx context.Context, m *relay.Message) error {
	if err := s.checkFields(); err != nil {
		return err
	}
	// A message is signed once, also if it goes to many destinations, or again.
	fields, err := s.signed.get(m, func() (outcome, error) { return s.sign(ctx, m) })
	if err != nil {
		return ownError{fmt.Errorf("dkim: message %s: %w", m.ID, err)}
	}
	if len(fields) > 0 {
		m = m.Prepend(fields)
	}
	return s.Next.Forward(ctx, m)
}

// An ownError is an error about one message. A network error in it is about the way
// to the keys, so it leaves Next reachable.
type ownError struct{ error }

func (e ownError) Unwrap() error   { return e.error }
func (ownError) Unreachable() bool { return false }

// An outcome is what became of signing a message.
type outcome struct {
	fields []byte    // the signatures
	until  time.Time // when it is to be forgotten; the zero Time means at once
}

// maxAge is how long an outcome is remembered. It bounds how long a key is used
// after it was replaced.
const maxAge = time.Hour

// sign returns the signatures for a message, if there are keys for it.
func (s *Signer) sign(ctx context.Context, m *relay.Message) (outcome, error) {
	header, err := readHeader(m)
	if err != nil {
		return outcome{}, err
	}
	author, err := mailheader.Author(header)
	if err != nil {
		return outcome{}, cannotSign(err.Error())
	}
	domain, err := credentials.NormalizeDomain(author[strings.LastIndexByte(author, '@')+1:])
	if err != nil {
		s.logger().Warn("dkim: message goes unsigned, the domain in From cannot have a key", "id", m.ID, "author", author)
		return outcome{until: time.Now().Add(maxAge)}, nil
	}
	keys, err := s.Keys(ctx, m, domain)
	if err != nil {
		return outcome{}, fmt.Errorf("keys of %s: %w", domain, err)
	}
	if len(keys) == 0 {
		return outcome{}, nil
	}
	for i := range keys {
		if keys, err = withDomain(keys, i, domain); err != nil {
			return outcome{}, err
		}
	}
	keys, until := s.missing(ctx, m, header, keys)
	if limit := time.Now().Add(maxAge); until.IsZero() || until.After(limit) {
		until = limit
	}
	fields, err := signatures(m, header, keys)
	return outcome{fields, until}, err
}

// cannotSign returns a permanent error.
func cannotSign(why string) error {
	return &relay.ReplyError{Code: 550, Enhanced: "5.6.0", Text: "the message cannot be signed: " + why}
}

// readHeader returns the header of a message with the empty line that ends it.
func readHeader(m *relay.Message) ([]byte, error) {
	var header []byte
	r := bufio.NewReader(m.Content())
	for {
		line, err := r.ReadSlice('\n')
		start := len(header) == 0 || header[len(header)-1] == '\n'
		header = append(header, line...)
		switch {
		case err == io.EOF, start && string(line) == "\r\n":
			return header, nil
		case err != nil && err != bufio.ErrBufferFull:
			return nil, err
		case len(header) > maxHeader:
			return nil, cannotSign(fmt.Sprintf("its header is larger than %d bytes", maxHeader))
		}
	}
}

func (s *Signer) logger() *slog.Logger {
	if s.Logger != nil {
		return s.Logger
	}
	return slog.Default()
}
