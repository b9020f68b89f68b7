package events_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/events"
)

var at = time.Date(2026, time.March, 29, 1, 59, 59, 987_654_000, time.UTC)

// accepted returns the events of a mail with n recipients.
func accepted(n int) (list []store.Event) {
	for i := range n {
		list = append(list, store.Event{
			Kind: store.EventAccepted, Time: at, Received: at, Tenant: "acme", Domain: "acme.example", Username: "u1", Mail: "0123456789abcdefghijklm",
			N: i, From: "shop@acme.example", Author: "anna@acme.example", Recipient: fmt.Sprintf("someone.%d@example.net", i), Subject: "Your order",
			MessageID: "<1@acme.example>", Remote: netip.MustParseAddr("2001:db8::1"), Size: 4096,
		})
	}
	return list
}

func encode(list []store.Event) []events.Chunk {
	var pointers []*store.Event
	for i := range list {
		pointers = append(pointers, &list[i])
	}
	return events.Encode(pointers)
}

func TestRoundTrip(t *testing.T) {
	odd := []store.Event{
		{}, {Kind: 99, N: -1, Size: 1 << 62, Time: time.UnixMicro(-1).UTC(), Received: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
		{Remote: netip.MustParseAddr("fe80::1%eth0"), Reason: "\x00\xff", Times: 5, Field: "AUTH", Grants: "1 2 month/tenant/acme"},
		{Reply: store.Reply{Code: 550, Enhanced: "5.1.1", Text: strings.Repeat("x", 20_000), Host: "mx"}, Attempt: 3},
		{Remote: netip.MustParseAddr("::ffff:192.0.2.1"), Size: -1 << 63, N: 1<<31 - 1},
		{NextAttempt: at}, {NextAttempt: at}, {NextAttempt: at.Add(time.Microsecond)}, {},
	}
	for name, list := range map[string][]store.Event{"odd": odd, "one": accepted(1), "many": accepted(50_000), "mixed": slices.Concat(accepted(3), odd, accepted(3))} {
		chunks := encode(list)
		var got []store.Event
		for _, c := range chunks {
			some, err := events.Decode(events.Join([]events.Chunk{c}), c.Events)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, some...)
		}
		if !slices.Equal(got, list) {
			t.Errorf("%s: not what was encoded", name)
		}
	}
}

// Chunks of several callers are one record.
func TestJoin(t *testing.T) {
	first, second := accepted(3), accepted(2)
	second[0].Time, second[0].Mail = at.Add(time.Hour), "other"
	got, err := events.Decode(events.Join(slices.Concat(encode(first), encode(second))), 5)
	if err != nil || !slices.Equal(got, slices.Concat(first, second)) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// firstEdition is a record that was written before events had a NextAttempt.
const firstEdition = "01f0bab1b20100c080ff01018cdfa5eae28787e3018cdfa5eae28787e3010461636d650c61636d652e6578616d706c6502753117303132333435363738396162636465666768" +
	"696a6b6c6d1173686f704061636d652e6578616d706c6511616e6e614061636d652e6578616d706c6515736f6d656f6e652e30406578616d706c652e6e65740a596f7572206f72646572103c3140" +
	"61636d652e6578616d706c653e1020010db8000000000000000000000001804001bf7b8080ff01000215736f6d656f6e652e31406578616d706c652e6e6574030798ffb40100026d310404840705" +
	"6c617465720462757379"

// A record of the first edition can be read, and events that it knows are written as it
// writes them.
func TestFirstEdition(t *testing.T) {
	record, err := hex.DecodeString(firstEdition)
	if err != nil {
		t.Fatal(err)
	}
	want := append(accepted(2), store.Event{
		Kind: store.EventDeferred, Time: at, Received: at, Tenant: "acme", Mail: "m1", N: 3, Attempt: 2, Reply: store.Reply{Code: 450, Text: "later"}, Reason: "busy",
	})
	if got, err := events.Decode(record, 3); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got := events.Join(encode(want)); !bytes.Equal(got, record) {
		t.Errorf("the same events are now\n%x, want\n%x", got, record)
	}
}

// A record does not grow without bounds, and recipients of one mail take little.
func TestSize(t *testing.T) {
	const n = 50_000
	size := 0
	for _, c := range encode(accepted(n)) {
		if len(c.Data) > events.MaxChunk+1000 {
			t.Errorf("a chunk has %d bytes", len(c.Data))
		}
		size += len(c.Data)
	}
	if each := size / n; each > 60 {
		t.Errorf("an event of a mail with many recipients takes %d bytes, want at most 60", each)
	}
	if one := len(encode(accepted(1))[0].Data); one > 250 {
		t.Errorf("an event takes %d bytes, want at most 250", one)
	}
}

// Any byte that is changed, added or cut is found.
func TestDamage(t *testing.T) {
	record := events.Join(encode(accepted(3)))
	damaged := func(what string, b []byte, n int) {
		t.Helper()
		if got, err := events.Decode(b, n); err == nil || got != nil {
			t.Errorf("%s: got %d events, %v, want an error", what, len(got), err)
		}
	}
	for i := range record {
		other := slices.Clone(record)
		other[i] ^= 0x10
		damaged(fmt.Sprint("byte ", i), other, 3)
		damaged(fmt.Sprint("cut at ", i), record[:i], 3)
	}
	damaged("longer", append(slices.Clone(record), 0), 3)
	for _, n := range []int{-1, 0, 2, 4, 1<<31 - 1} {
		damaged(fmt.Sprint(n, " events"), record, n)
	}
}

// Decode never panics, and what it accepts it would encode to the same events.
func FuzzDecode(f *testing.F) {
	for _, list := range [][]store.Event{nil, {{}}, accepted(1), accepted(3)} {
		f.Add(events.Join(encode(list))[5:], len(list))
	}
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		list, err := events.Decode(events.Join([]events.Chunk{{Data: data}}), n)
		if err != nil {
			return
		}
		again, err := events.Decode(events.Join(encode(list)), len(list))
		if err != nil || !slices.Equal(again, list) {
			t.Errorf("got %+v, %v after encoding %+v", again, err, list)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	list := accepted(1)
	for b.Loop() {
		events.Encode([]*store.Event{&list[0]})
	}
}

func BenchmarkDecode(b *testing.B) {
	chunks := encode(accepted(1))
	record := events.Join(chunks)
	for b.Loop() {
		if _, err := events.Decode(record, 1); err != nil {
			b.Fatal(err)
		}
	}
}
