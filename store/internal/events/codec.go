// Package events encodes the events of a record in a compact form: only what differs
// from the event before is written.
package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// version begins each record. headerSize is that of the version and the checksum.
const (
	version    = 1
	headerSize = 1 + crc32.Size
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MaxChunk is how long a chunk becomes before the next event begins another one.
const MaxChunk = 1 << 20

// A Chunk is some encoded events. A record is any number of chunks, because the
// first event of a chunk refers to no other.
type Chunk struct {
	Events int
	Data   []byte
}

// Encode returns the events as chunks.
func Encode(list []*store.Event) (chunks []Chunk) {
	var prev *store.Event
	for i, e := range list {
		if prev == nil || len(chunks[len(chunks)-1].Data) >= MaxChunk {
			chunks, prev = append(chunks, Chunk{Data: make([]byte, 0, min(MaxChunk+MaxChunk/4, 300+64*(len(list)-i)))}), nil
		}
		c := &chunks[len(chunks)-1]
		c.Events++
		c.Data = appendEvent(c.Data, prev, e)
		prev = e
	}
	return chunks
}

// Join returns the content of a record with the chunks.
func Join(chunks []Chunk) []byte {
	size := headerSize
	for _, c := range chunks {
		size += len(c.Data)
	}
	record := make([]byte, headerSize, size)
	for _, c := range chunks {
		record = append(record, c.Data...)
	}
	record[0] = version
	binary.BigEndian.PutUint32(record[1:], crc32.Checksum(record[headerSize:], castagnoli))
	return record
}

// Decode returns the n events of a record. It returns an error if the record is
// damaged, and never panics.
func Decode(record []byte, n int) ([]store.Event, error) {
	if len(record) < headerSize {
		return nil, fmt.Errorf("the record has %d bytes, less than its header", len(record))
	}
	if record[0] != version {
		return nil, fmt.Errorf("unsupported version %d", record[0])
	}
	data := record[headerSize:]
	if crc32.Checksum(data, castagnoli) != binary.BigEndian.Uint32(record[1:]) {
		return nil, errors.New("the checksum is wrong")
	}
	d := decoder{data: data, text: string(data)}
	return d.events(n)
}

// fields are the fields of an event in the order in which they are written. A field
// that is added later goes to the end, see firstFields. Each function writes the field of e, or reads
// it into e, whose event before was prev.
var fields = [...]field{
	instant(func(e *store.Event) *time.Time { return &e.Time }),
	instant(func(e *store.Event) *time.Time { return &e.Received }),
	text(func(e *store.Event) *store.TenantID { return &e.Tenant }),
	text(func(e *store.Event) *string { return &e.Domain }),
	text(func(e *store.Event) *string { return &e.Username }),
	text(func(e *store.Event) *string { return &e.Mail }),
	number(func(e *store.Event) *int { return &e.N }),
	text(func(e *store.Event) *string { return &e.From }),
	text(func(e *store.Event) *string { return &e.Author }),
	text(func(e *store.Event) *string { return &e.Recipient }),
	text(func(e *store.Event) *string { return &e.Subject }),
	text(func(e *store.Event) *string { return &e.MessageID }),
	address(func(e *store.Event) *netip.Addr { return &e.Remote }),
	number(func(e *store.Event) *int64 { return &e.Size }),
	number(func(e *store.Event) *int { return &e.Attempt }),
	number(func(e *store.Event) *int { return &e.Reply.Code }),
	text(func(e *store.Event) *string { return &e.Reply.Enhanced }),
	text(func(e *store.Event) *string { return &e.Reply.Text }),
	text(func(e *store.Event) *string { return &e.Reply.Host }),
	text(func(e *store.Event) *string { return &e.Field }),
	text(func(e *store.Event) *string { return &e.Reason }),
	number(func(e *store.Event) *int { return &e.Times }),
	instant(func(e *store.Event) *time.Time { return &e.NextAttempt }),
	text(func(e *store.Event) *string { return &e.Grants }),
}

// firstFields is how many fields the first edition of this package knew. Those that
// came later have another sign for zero: none. So an event in which they are zero is
// written as the first edition writes it, and what that has written can be read. The
// first edition cannot read events with other fields: it sets their records aside.
const firstFields = 22

// A field writes and reads one field of an event.
type field struct {
	same  func(a, b *store.Event) bool
	zero  func(e *store.Event) bool
	write func(to []byte, prev, e *store.Event) []byte
	read  func(d *decoder, prev, e *store.Event)
	copy  func(prev, e *store.Event)
}

func text[T ~string](of func(*store.Event) *T) field {
	return field{
		same: func(a, b *store.Event) bool { return *of(a) == *of(b) },
		zero: func(e *store.Event) bool { return *of(e) == "" },
		write: func(to []byte, _, e *store.Event) []byte {
			return append(binary.AppendUvarint(to, uint64(len(*of(e)))), *of(e)...)
		},
		read: func(d *decoder, _, e *store.Event) { *of(e) = T(d.string()) },
		copy: func(prev, e *store.Event) { *of(e) = *of(prev) },
	}
}

func number[T int | int64](of func(*store.Event) *T) field {
	return field{
		same:  func(a, b *store.Event) bool { return *of(a) == *of(b) },
		zero:  func(e *store.Event) bool { return *of(e) == 0 },
		write: func(to []byte, prev, e *store.Event) []byte { return binary.AppendVarint(to, int64(*of(e)-*of(prev))) },
		read:  func(d *decoder, prev, e *store.Event) { *of(e) = *of(prev) + T(d.varint()) },
		copy:  func(prev, e *store.Event) { *of(e) = *of(prev) },
	}
}

func instant(of func(*store.Event) *time.Time) field {
	return field{
		same: func(a, b *store.Event) bool { return of(a).Equal(*of(b)) },
		zero: func(e *store.Event) bool { return of(e).IsZero() },
		write: func(to []byte, prev, e *store.Event) []byte {
			return binary.AppendVarint(to, of(e).UnixMicro()-of(prev).UnixMicro())
		},
		read: func(d *decoder, prev, e *store.Event) {
			*of(e) = time.UnixMicro(of(prev).UnixMicro() + d.varint()).UTC()
		},
		copy: func(prev, e *store.Event) { *of(e) = *of(prev) },
	}
}

func address(of func(*store.Event) *netip.Addr) field {
	return field{
		same: func(a, b *store.Event) bool { return *of(a) == *of(b) },
		zero: func(e *store.Event) bool { return *of(e) == netip.Addr{} },
		write: func(to []byte, _, e *store.Event) []byte {
			b, _ := of(e).MarshalBinary() // which has no errors
			return append(binary.AppendUvarint(to, uint64(len(b))), b...)
		},
		read: func(d *decoder, _, e *store.Event) {
			if err := of(e).UnmarshalBinary([]byte(d.string())); err != nil && d.err == nil {
				d.err = err
			}
		},
		copy: func(prev, e *store.Event) { *of(e) = *of(prev) },
	}
}

// appendEvent writes the kind, which fields are as in the event before, which are
// zero (of those added later: which are written), and the others.
func appendEvent(to []byte, prev, e *store.Event) []byte {
	var same, zero uint64
	first := prev == nil
	if first {
		prev = new(store.Event)
	}
	for i := range fields {
		switch f := &fields[i]; {
		case f.zero(e):
			zero |= 1 << i
		case !first && f.same(prev, e):
			same |= 1 << i
		}
	}
	to = binary.AppendUvarint(to, uint64(e.Kind))
	to = binary.AppendUvarint(to, same)
	to = binary.AppendUvarint(to, flipped(same, zero))
	if first { // whose times and numbers are not relative to those of another chunk
		to = append(to, 1)
	} else {
		to = append(to, 0)
	}
	for i := range fields {
		if (same|zero)&(1<<i) == 0 {
			to = fields[i].write(to, prev, e)
		}
	}
	return to
}

// flipped changes the bits of zero fields, between what is written and which are zero.
func flipped(same, zero uint64) uint64 {
	const added = (1<<len(fields) - 1) &^ (1<<firstFields - 1)
	return zero ^ added&^same
}
