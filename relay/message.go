package relay

import (
	"bytes"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// A Message is one accepted submission: an envelope and its content. A
// [Forwarder] must not change it. Prepend, WithContent and WithRecipients return
// changed copies; for any other change, copy the struct: c := *m.
type Message struct {
	// ID names the message everywhere: in the 250 reply, the Received line,
	// logs, events and the queue. Letters and digits only.
	ID string

	// Identity is the SMTP user that submitted the message.
	Identity credentials.Identity

	// From is the envelope sender and To the envelope recipients, in the form
	// they have in an SMTP command, without the angle brackets (RFC 5321
	// section 4.1.2). An empty From is the null reverse-path.
	From string
	To   []Recipient

	// Author is the first address in the From field, at most 254 bytes.
	// Subject is the decoded Subject field: valid UTF-8 without control
	// characters, at most 255 bytes. MessageID is the Message-ID field with its
	// angle brackets, at most 1,000 bytes.
	//
	// The Server sets all three. They are for records and screens: a program
	// that builds its own messages may leave them empty, and a DKIM signer reads
	// the author from the content.
	Author    string
	Subject   string
	MessageID string

	Options  Options
	Remote   netip.Addr // the client's address
	Received time.Time  // when the message was accepted for forwarding; UTC

	// Grants names what the recipients are charged to, see [store.Event]. Package
	// relay/limits sets it, and a queue records it with each recipient. A Forwarder
	// between the two that builds messages of its own must copy it.
	Grants string

	// Key is what the client has named the submission, see Server.KeyHeader; usually
	// empty. A Forwarder that keeps keys returns a [*TakenError] for a message whose
	// Key it has kept for the same Identity.Username within the last day.
	// Fingerprint tells two messages of one Key apart.
	Key         string
	Fingerprint string

	// Partial allows a Forwarder to take the message for some of the recipients
	// and to refuse the others with a [*RefusedError]. A queue sets it, because
	// it settles every recipient by itself. In front of a client, which gets one
	// reply for all recipients, it is not set.
	Partial bool

	// Attempt is which attempt at these recipients this is, from 1. A queue sets it; zero
	// means that there is no queue.
	Attempt int

	// NoWait tells a Forwarder that has no free slot to return a [*BusyError] at
	// once. Otherwise the Forwarder waits for a slot.
	NoWait bool

	// OnDelivered, if set, is called by the Forwarder at the end of the chain
	// when another server has accepted the message. It may be called several
	// times, for different recipients. If it is not called, the next server is
	// unknown and no delivery confirmation should be expected.
	OnDelivered func(NextHop)

	// OnReached, if set, is called by the Forwarder at the end of the chain
	// when the next server has accepted the sender (MAIL), so before the content
	// is sent. It may be called several times, and must return soon. A queue
	// sends the other messages for a suspended destination then. If it is not
	// called, the queue waits for the end of Forward.
	OnReached func()

	prefix  []byte // what Prepend put before the content
	content io.ReaderAt
	size    int64
}

// A NextHop describes a server that has accepted a message.
type NextHop struct {
	Host  string // its name
	Reply string // its reply to the content, made printable

	// Recipients are the addresses that it has accepted the message for, as in
	// Message.To. Nil means all that Forward does not refuse.
	Recipients []string

	// DSN means that the server offers DSN and was told what the sender asked
	// for: to confirm the delivery is its task now (RFC 3461 section 5.2.1).
	DSN bool
}

// A Recipient is one envelope recipient with its DSN options (RFC 3461).
type Recipient struct {
	Address string

	// Notify holds NEVER, or any of SUCCESS, FAILURE and DELAY. Empty means
	// that the client didn't say (RFC 3461 section 4.1).
	Notify []string

	// OriginalRecipient is the ORCPT parameter, the type in upper case and the
	// decoded address separated by a semicolon: "RFC822;bob@example.com".
	OriginalRecipient string
}

// Options are the parameters the client gave with MAIL, to be passed on.
type Options struct {
	Body       string // "7BIT", "8BITMIME" or "" (RFC 6152)
	UTF8       bool   // SMTPUTF8 (RFC 6531)
	RequireTLS bool   // REQUIRETLS (RFC 8689)
	Return     string // RET: "FULL", "HDRS" or "" (RFC 3461 section 4.3)
	EnvelopeID string // ENVID, decoded (RFC 3461 section 4.4)
}

// WithContent returns a copy of the message whose content, header included, is
// the size bytes of r. It is for programs that make messages themselves and for
// content filters. Lines must end in CRLF. Several goroutines may read r at once.
// Author, Subject and MessageID stay as they are.
// If r is a *bytes.Reader, it may be read after Forward has returned: see Retain.
func (m *Message) WithContent(r io.ReaderAt, size int64) *Message {
	c := *m
	c.prefix, c.content, c.size = nil, r, size
	return &c
}

// Content returns the header and body as they are to be sent: CRLF line ends,
// not dot-stuffed. Each call returns a reader of its own, at the beginning;
// its Size is the message's.
func (m *Message) Content() *io.SectionReader {
	if len(m.prefix) == 0 {
		if m.content == nil {
			return io.NewSectionReader(bytes.NewReader(nil), 0, 0)
		}
		return io.NewSectionReader(m.content, 0, m.size)
	}
	r := &prefixed{prefix: m.prefix, rest: m.content, size: m.size}
	return io.NewSectionReader(r, 0, int64(len(m.prefix))+m.size)
}

// Size returns the number of bytes of the content.
func (m *Message) Size() int64 { return int64(len(m.prefix)) + m.size }

// Prepend returns a copy of the message with the given header fields before
// its content. The fields are whole lines, each ending in CRLF.
func (m *Message) Prepend(fields []byte) *Message {
	c := *m
	c.prefix = slices.Concat(fields, m.prefix)
	return &c
}

// Retain returns a copy of the message whose content stays readable after Forward
// has returned. It is for Forwarders that accept a message first and send it
// later, such as a queue. It returns nil and false if the content may go: if it
// is in a temporary file, or was given to WithContent and is not a *bytes.Reader.
// Callers that need such content longer must copy it.
func (m *Message) Retain() (retained *Message, ok bool) {
	if _, ok := m.content.(*bytes.Reader); !ok {
		return nil, false
	}
	c := *m
	return &c, true
}

// WithRecipients returns a copy of the message for other recipients. The copy has
// the same ID, and a queue keeps only one message of each ID. To split a message
// in front of a queue, give every copy an ID of its own with [NewID], and a Key of
// its own if the message has one.
func (m *Message) WithRecipients(to []Recipient) *Message {
	c := *m
	c.To = to
	return &c
}

// prefixed reads a prefix and then the rest of the content.
type prefixed struct {
	prefix []byte
	rest   io.ReaderAt
	size   int64
}

func (p *prefixed) ReadAt(b []byte, off int64) (n int, err error) {
	if off < int64(len(p.prefix)) {
		n = copy(b, p.prefix[off:])
		if n == len(b) {
			return n, nil
		}
	}
	if p.rest == nil {
		return n, io.EOF
	}
	m, err := io.NewSectionReader(p.rest, 0, p.size).ReadAt(b[n:], off+int64(n)-int64(len(p.prefix)))
	return n + m, err
}
