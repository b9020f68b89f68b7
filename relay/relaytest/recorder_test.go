package relaytest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// A message can be seen as it goes into a Forwarder and as it leaves it.
func TestRecorderBesideRelay(t *testing.T) {
	out := new(relaytest.Recorder)
	r := relaytest.NewUnstartedRelay(t)
	r.Server.Forwarder = relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
		return out.Forward(ctx, m.Prepend([]byte("X-Footer: yes\r\n")))
	})
	r.Start()
	if err := send(r, "shop@acme.example", "bob@example.com", "hello"); err != nil {
		t.Fatal(err)
	}
	before, after := string(r.Wait(1)[0].Data), string(out.Wait(t, 1)[0].Data)
	if after != "X-Footer: yes\r\n"+before {
		t.Errorf("in went\n%s\nout came\n%s", before, after)
	}
}

// A Recorder remembers the recipients that were taken, and passes errors on.
func TestRecorderRefusals(t *testing.T) {
	refused := []relay.RefusedRecipient{{Address: "b@example.com", Err: errors.New("moved")}}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"taken", nil, "a@example.com b@example.com"},
		{"refused", errors.New("full"), ""},
		{"one refused, none taken", &relay.RefusedError{Recipients: refused}, ""},
		{"one refused, the other taken", &relay.RefusedError{Recipients: refused, Partial: true}, "a@example.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec := &relaytest.Recorder{Next: relay.ForwarderFunc(func(context.Context, *relay.Message) error { return tt.err })}
			m := &relay.Message{To: []relay.Recipient{{Address: "a@example.com"}, {Address: "b@example.com"}}}
			if err := rec.Forward(t.Context(), m); err != tt.err {
				t.Errorf("got error %v, want %v", err, tt.err)
			}
			var got []string
			for _, m := range rec.Messages() {
				for _, to := range m.To {
					got = append(got, to.Address)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("recorded are %q, want %q", got, tt.want)
			}
		})
	}
}
