package dkim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/dkim"
)

func TestErrorOfKeysIsTemporary(t *testing.T) {
	fail := true
	var next sink
	s := &dkim.Signer{Next: &next, Keys: func(ctx context.Context, m *relay.Message, domain string) ([]dkim.Key, error) {
		if fail {
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}
		return both(ctx, m, domain)
	}}
	m := message("1", "From: shop@acme.example\r\n\r\n")
	if err := s.Forward(t.Context(), m); err == nil || !relay.Temporary(err) || len(next.data) != 0 {
		t.Fatalf("got error %v and %d messages sent, want a temporary error and none", err, len(next.data))
	} else if u := new(interface{ Unreachable() bool }); !errors.As(err, u) || (*u).Unreachable() {
		t.Errorf("got an error that says that the next server is unreachable: %v", err)
	}
	fail = false
	if err := s.Forward(t.Context(), m); err != nil || !strings.Contains(next.data[0], "DKIM-Signature") {
		t.Errorf("second try: got error %v, want a signed message", err)
	}
}

// A message is not sent unsigned because a read failed, whichever read it was.
func TestErrorOfReadingIsTemporary(t *testing.T) {
	content := "From: shop@acme.example\r\n" + strings.Repeat("X: y\r\n", 3000) + "\r\nhello\r\n"
	failed := 0
	for n := range 30 {
		var next sink
		s := &dkim.Signer{Keys: both, Next: &next}
		m := message("1", "")
		m = m.WithContent(&failing{strings.NewReader(content), n}, int64(len(content)))
		if err := s.Forward(t.Context(), m); err != nil {
			if failed++; !relay.Temporary(err) || len(next.data) != 0 {
				t.Errorf("read %d fails: got error %v and %d messages sent, want a temporary error and none", n, err, len(next.data))
			}
			if err := s.Forward(t.Context(), m); err != nil {
				t.Error(err)
			}
		}
		if len(next.data) != 1 || !strings.Contains(next.data[0], "DKIM-Signature") {
			t.Errorf("read %d fails: got an unsigned message", n)
		}
	}
	if failed < 3 {
		t.Errorf("got %d failures, want at least 3", failed)
	}
}

// failing is a content of which one read fails.
type failing struct {
	io.ReaderAt
	after int // reads that succeed before
}

func (f *failing) ReadAt(b []byte, off int64) (int, error) {
	if f.after--; f.after == -1 {
		return 0, errors.New("input/output error")
	}
	return f.ReaderAt.ReadAt(b, off)
}

// After a panic in Keys the next try signs the message.
func TestPanicInKeys(t *testing.T) {
	var next sink
	s := &dkim.Signer{Next: &next, Keys: func(context.Context, *relay.Message, string) ([]dkim.Key, error) { panic("keys") }}
	m := message("1", "From: shop@acme.example\r\n\r\n")
	func() {
		defer func() { recover() }()
		s.Forward(t.Context(), m)
	}()
	s.Keys = both
	if err := s.Forward(t.Context(), m); err != nil || len(next.data) != 1 || !strings.Contains(next.data[0], "DKIM-Signature") {
		t.Errorf("got error %v and %d messages, want one that is signed", err, len(next.data))
	}
}

// A call that waits for another call to sign does not fail when the context of that
// call ends.
func TestWaitersHaveTheirOwnContext(t *testing.T) {
	var asked atomic.Int32
	begun := make(chan bool)
	var next sink
	s := &dkim.Signer{Next: &next, Keys: func(ctx context.Context, m *relay.Message, domain string) ([]dkim.Key, error) {
		if asked.Add(1) > 1 {
			return both(ctx, m, domain)
		}
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	m := message("1", "From: shop@acme.example\r\n\r\n")
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { first <- s.Forward(ctx, m) }()
	<-begun
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := s.Forward(t.Context(), m); err != nil || len(next.data) != 1 {
		t.Errorf("got error %v and %d messages, want one message", err, len(next.data))
	}
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFieldsThatAreMissingOrWrong(t *testing.T) {
	keys := func(selector string) func(context.Context, *relay.Message, string) ([]dkim.Key, error) {
		return func(ctx context.Context, m *relay.Message, domain string) ([]dkim.Key, error) {
			list, err := both(ctx, m, domain)
			list[0].Selector = selector
			return list, err
		}
	}
	for _, test := range []struct {
		s    *dkim.Signer
		want string
	}{
		{&dkim.Signer{Next: new(sink)}, "Signer.Keys is required"},
		{&dkim.Signer{Keys: both}, "Signer.Next is required"},
		{&dkim.Signer{Next: new(sink), Keys: keys("")}, `selector ""`},
		{&dkim.Signer{Next: new(sink), Keys: keys("a b;c")}, `selector "a b;c"`},
		{&dkim.Signer{Next: new(sink), Keys: keys("a..b")}, `selector "a..b"`},
	} {
		err := test.s.Forward(t.Context(), message("1", "From: shop@acme.example\r\n\r\n"))
		if err == nil || !strings.Contains(err.Error(), test.want) || !relay.Temporary(err) {
			t.Errorf("got error %v, want a temporary one with %q", err, test.want)
		}
		if err := relay.CheckForwarder(test.s); strings.HasSuffix(test.want, "required") != (err != nil) || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("CheckForwarder returned %v, want an error if a field is missing: %q", err, test.want)
		}
	}
}
