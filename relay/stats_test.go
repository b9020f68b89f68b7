package relay_test

import (
	"context"
	"encoding/base64"
	"maps"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
)

func TestStats(t *testing.T) {
	events := newEventLog()
	r := startRelay(t, func(s *relay.Server) { s.OnEvent = events.add })
	srv := r.Server
	c := dial(t, r, true)
	c.want("220")
	c.cmd("EHLO client.test", "250")
	c.cmd("NONSENSE", "500")
	c.cmd("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+r.Username+"\x00wrong")), "535")
	if got := srv.Stats(); got.Conns != 1 || got.Sessions != 0 || got.Logins != 0 {
		t.Errorf("before the login: %+v", got)
	}
	c.cmd(expand(r, "AUTH PLAIN $plain"), "235")
	c.cmd("MAIL FROM:<shop@other.example>", "550")
	c.envelope()
	c.cmd("RCPT TO:<eve@example.com>", "250")
	c.cmd("RCPT TO:<eve", "501")
	c.cmd("DATA", "354")
	c.cmd(hello+".", "250")
	if got := srv.Stats(); got.Conns != 1 || got.Sessions != 1 {
		t.Errorf("during the session %d connections and %d sessions are open, want 1 and 1", got.Conns, got.Sessions)
	}
	c.cmd("QUIT", "221")
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}

	got := srv.Stats()
	m := r.Messages()[0]
	want := relay.Stats{
		ConnsEnded: 1, Logins: 1, CommandsRefused: 1, Messages: 1, Recipients: 2,
		LoginsRefused: map[relay.LoginCause]int64{relay.CauseWrongPassword: 1},
		MessagesRefused: map[relay.Refusal]int64{
			{Field: relay.FieldMailFrom, Code: 550}: 1, {Field: relay.FieldRcptTo, Code: 501}: 1,
		},
	}
	if !maps.Equal(got.LoginsRefused, want.LoginsRefused) || !maps.Equal(got.MessagesRefused, want.MessagesRefused) {
		t.Errorf("refused are %v and %v, want %v and %v", got.LoginsRefused, got.MessagesRefused, want.LoginsRefused, want.MessagesRefused)
	}
	if got.MessageBytes.Sum != float64(m.Size()) || got.MessageBytes.Counts[0] != 1 {
		t.Errorf("the sizes are %+v, want one of %d", got.MessageBytes, m.Size())
	}
	if got.ForwardSeconds.Sum <= 0 {
		t.Errorf("the Forwarder took %v s, want more than 0", got.ForwardSeconds.Sum)
	}
	for _, v := range []struct {
		name      string
		got, want int64
	}{
		{"Conns", int64(got.Conns), 0}, {"Sessions", int64(got.Sessions), 0}, {"ConnsEnded", got.ConnsEnded, want.ConnsEnded},
		{"ConnsRefused", got.ConnsRefused, 0}, {"HandshakesFailed", got.HandshakesFailed, 0}, {"Logins", got.Logins, want.Logins},
		{"SessionsCutOff", got.SessionsCutOff, 0}, {"CommandsRefused", got.CommandsRefused, want.CommandsRefused},
		{"Messages", got.Messages, want.Messages}, {"Recipients", got.Recipients, want.Recipients},
	} {
		if v.got != v.want {
			t.Errorf("%s is %d, want %d", v.name, v.got, v.want)
		}
	}
}

// Each kind of event is counted once, whatever the order, and a snapshot does not
// change later. The race detector watches.
func TestStatsOfEachEvent(t *testing.T) {
	srv := new(relay.Server)
	before := srv.Stats()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, e := range []relay.Event{
				&relay.LoggedIn{}, &relay.LoginRefused{Cause: relay.CauseBusy}, &relay.MessageAccepted{Size: 5000, To: make([]relay.Recipient, 3)},
				&relay.MessageRefused{Field: relay.FieldData, Code: 552}, &relay.CommandRefused{}, &relay.SessionCutOff{},
				&relay.SessionEnded{}, &relay.ConnRefused{}, &relay.HandshakeFailed{},
			} {
				srv.Count(e)
				srv.Stats()
			}
		})
	}
	wg.Wait()
	got := srv.Stats()
	for name, n := range map[string]int64{
		"Logins": got.Logins, "LoginsRefused": got.LoginsRefused[relay.CauseBusy], "Messages": got.Messages, "Recipients / 3": got.Recipients / 3,
		"MessagesRefused": got.MessagesRefused[relay.Refusal{Field: relay.FieldData, Code: 552}], "CommandsRefused": got.CommandsRefused,
		"SessionsCutOff": got.SessionsCutOff, "ConnsEnded": got.ConnsEnded, "ConnsRefused": got.ConnsRefused, "HandshakesFailed": got.HandshakesFailed,
		"MessageBytes": got.MessageBytes.Counts[2], "ForwardSeconds": got.ForwardSeconds.Counts[0],
	} {
		if n != 8 {
			t.Errorf("%s is %d, want 8", name, n)
		}
	}
	if before.MessageBytes.Counts[2] != 0 || len(before.LoginsRefused) != 0 || len(before.MessagesRefused) != 0 {
		t.Errorf("an earlier snapshot changed: %+v", before)
	}
}

func TestHistogram(t *testing.T) {
	h := relay.NewHistogram(1, 10)
	for _, v := range []float64{0, 1, 1.5, 10, 11, -1} {
		h.Observe(v)
	}
	if want := [3]int64{3, 2, 1}; [3]int64(h.Counts) != want || h.Sum != 22.5 {
		t.Errorf("got %v with the sum %v, want %v and 22.5", h.Counts, h.Sum, want)
	}
}

// BenchmarkCount counts the event of an accepted message.
func BenchmarkCount(b *testing.B) {
	e := &relay.MessageAccepted{Size: 4096, To: make([]relay.Recipient, 1)}
	b.Run("one", func(b *testing.B) {
		srv := new(relay.Server)
		for b.Loop() {
			srv.Count(e)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		srv := new(relay.Server)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				srv.Count(e)
			}
		})
	})
}
