package events_test

import (
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

func TestRoundTrip(t *testing.T) {
	odd := []store.Event{
		{}, {Kind: 99, N: -1, Size: 1 << 62, Time: time.UnixMicro(-1).UTC(), Received: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
		{Remote: netip.MustParseAddr("fe80::1%eth0"), Reason: "\x00\xff", Times: 5, Field: "AUTH"},
		{Reply: store.Reply{Code: 550, Enhanced: "5.1.1", Text: strings.Repeat("x", 20_000), Host: "mx"}, Attempt: 3},
		{Remote: netip.MustParseAddr("::ffff:192.0.2.1"), Size: -1 << 63, N: 1<<31 - 1},
	}
	for name, list := range map[string][]store.Event{"odd": odd, "one": accepted(1), "many": accepted(50_000), "mixed": slices.Concat(accepted(3), odd, accepted(3))} {
		chunks := events.Encode(list)
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
	got, err := events.Decode(events.Join(slices.Concat(events.Encode(first), events.Encode(second))), 5)
	if err != nil || !slices.Equal(got, slices.Concat(first, second)) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A record does not grow without bounds, and recipients of one mail take little.
func TestSize(t *testing.T) {
	const n = 50_000
	size := 0
	for _, c := range events.Encode(accepted(n)) {
		if len(c.Data) > events.MaxChunk+1000 {
			t.Errorf("a chunk has %d bytes", len(c.Data))
		}
		size += len(c.Data)
	}
	if each := size / n; each > 60 {
		t.Errorf("an event of a mail with many recipients takes %d bytes, want at most 60", each)
	}
	if one := len(events.Encode(accepted(1))[0].Data); one > 250 {
		t.Errorf("an event takes %d bytes, want at most 250", one)
	}
}

// Any byte that is changed, added or cut is found.
func TestDamage(t *testing.T) {
	record := events.Join(events.Encode(accepted(3)))
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
		f.Add(events.Join(events.Encode(list))[5:], len(list))
	}
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		list, err := events.Decode(events.Join([]events.Chunk{{Data: data}}), n)
		if err != nil {
			return
		}
		again, err := events.Decode(events.Join(events.Encode(list)), len(list))
		if err != nil || !slices.Equal(again, list) {
			t.Errorf("got %+v, %v after encoding %+v", again, err, list)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	list := accepted(1)
	for b.Loop() {
		events.Encode(list)
	}
}

func BenchmarkDecode(b *testing.B) {
	chunks := events.Encode(accepted(1))
	record := events.Join(chunks)
	for b.Loop() {
		if _, err := events.Decode(record, 1); err != nil {
			b.Fatal(err)
		}
	}
}
