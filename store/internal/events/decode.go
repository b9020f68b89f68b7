package events

import (
	"encoding/binary"
	"errors"

	"github.com/gatepost-mail/gatepost/store"
)

// A decoder reads events. Its err is the first error; then all that it reads is zero.
// The texts of events are parts of text, so that each needs no copy.
type decoder struct {
	data []byte
	text string // ends with the same bytes as data
	err  error
}

var errShort = errors.New("the record ends within an event")

// events reads exactly n events.
func (d *decoder) events(n int) (list []store.Event, err error) {
	if n < 0 || n > len(d.data) {
		return nil, errors.New("the record is too short for its number of events")
	}
	list = make([]store.Event, n)
	prev := new(store.Event)
	for i := range list {
		if d.event(prev, &list[i]); d.err != nil {
			return nil, d.err
		}
		prev = &list[i]
	}
	if len(d.data) > 0 {
		return nil, errors.New("the record has more events than were kept")
	}
	return list, nil
}

func (d *decoder) event(prev, e *store.Event) {
	e.Kind = store.EventKind(d.uvarint())
	same, zero, first := d.uvarint(), d.uvarint(), d.uvarint()
	zero = flipped(same, zero)
	if first > 1 || (same|zero)>>len(fields) != 0 || same&zero != 0 {
		d.fail(errors.New("an event has unknown fields"))
	}
	if first == 1 {
		prev = new(store.Event)
	}
	for i := range fields {
		switch bit := uint64(1) << i; {
		case d.err != nil:
			return
		case zero&bit != 0:
		case same&bit != 0:
			fields[i].copy(prev, e)
		default:
			fields[i].read(d, prev, e)
		}
	}
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err, d.data = err, nil
	}
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.data)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.data)) {
		d.fail(errShort)
		return ""
	}
	at := len(d.text) - len(d.data)
	d.data = d.data[n:]
	return d.text[at : at+int(n)]
}
