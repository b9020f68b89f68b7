package history

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A trail is the events of a recipient, one behind the other: the length of each as a
// varint, then the version of the encoding, then the fields that the activity does not
// have.
const trailVersion = 1

// appendEntry adds an event, or a mark, to a trail.
func appendEntry(trail, entry []byte) []byte {
	trail = binary.AppendUvarint(trail, uint64(len(entry)))
	return append(trail, entry...)
}

// appendEvent encodes an event for a trail.
func appendEvent(b []byte, e *store.Event) []byte {
	b = append(b, trailVersion)
	b = binary.AppendUvarint(b, uint64(e.Kind))
	b = binary.AppendVarint(b, e.Time.UnixMicro())
	b = binary.AppendVarint(b, int64(e.Attempt))
	b = binary.AppendVarint(b, int64(e.Reply.Code))
	for _, s := range []string{e.ID, e.Reply.Enhanced, e.Reply.Text, e.Reply.Host, e.Reason} {
		s = clip(s)
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	remote, _ := e.Remote.MarshalBinary() // never fails
	b = appendEntry(b, remote)
	if !e.NextAttempt.IsZero() {
		b = binary.AppendVarint(b, e.NextAttempt.UnixMicro())
	}
	return b
}

// eventsOf returns the events of an activity in the order in which they happened, and
// how many retries it leaves out. It leaves out, too, those that this version cannot
// read.
func eventsOf(a *store.Activity) (events []store.Event, leftOut int) {
	kept, leftOut := shortened(entriesOf(a.Trail))
	for i := range kept {
		if e := kept[i].event; e.Kind != 0 {
			e.Tenant, e.Mail, e.N, e.Domain, e.Username = a.Tenant, a.Mail, a.N, a.Domain, a.Username
			e.From, e.Author, e.Recipient, e.Subject, e.MessageID = a.From, a.Author, a.Recipient, a.Subject, a.MessageID
			e.Received, e.Size = a.Received, a.Size
			events = append(events, e)
		}
	}
	slices.SortStableFunc(events, func(a, b store.Event) int { return happened(&a, &b) })
	return events, leftOut
}

// A reader reads a trail. After an error bad is set and everything is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) event() (e store.Event, ok bool) {
	if len(r.b) == 0 || r.b[0] != trailVersion {
		return e, false
	}
	r.b = r.b[1:]
	e.Kind = store.EventKind(r.uvarint())
	e.Time = time.UnixMicro(r.varint()).UTC()
	e.Attempt = int(r.varint())
	e.Reply.Code = int(r.varint())
	e.ID = r.text()
	e.Reply.Enhanced, e.Reply.Text, e.Reply.Host = r.text(), r.text(), r.text()
	e.Reason = r.text()
	if err := e.Remote.UnmarshalBinary([]byte(r.text())); err != nil {
		e.Remote = netip.Addr{}
	}
	if len(r.b) > 0 { // it has more than in the first edition
		e.NextAttempt = time.UnixMicro(r.varint()).UTC()
	}
	return e, !r.bad
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return uint64(r.took(int64(v), n))
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	return r.took(v, n)
}

func (r *reader) took(v int64, n int) int64 {
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
