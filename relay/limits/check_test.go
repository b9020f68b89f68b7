package limits_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/reencode"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// Run of the Limiter and the start of the Server say what is wrong, before there is a
// message.
func TestFieldsThatAreMissingOrWrong(t *testing.T) {
	st := new(memory.Store)
	none := func(context.Context, credentials.Identity) ([]limits.Limit, error) { return nil, nil }
	sink := relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil })
	const record = "limits: set Record of the queue that Limiter.Next leads to"
	for _, test := range []struct {
		name string
		l    *limits.Limiter
		want string
	}{
		{"no Next", &limits.Limiter{Store: st, Limits: none}, "Limiter.Store, Limits and Next are required"},
		{"no Record", &limits.Limiter{Store: st, Limits: none, Next: &queue.Queue{Spool: st, Next: sink}}, record},
		{"no Record behind reencode", &limits.Limiter{Store: st, Limits: none, Next: &reencode.Forwarder{Next: &queue.Queue{Spool: st, Next: sink}}}, record},
		{"a queue without Next", &limits.Limiter{Store: st, Limits: none, Next: &queue.Queue{Spool: st, Record: true}}, "Queue.Next is required"},
	} {
		if err := test.l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Run = %v, want %q", test.name, err, test.want)
		}
		srv := &relay.Server{Hostname: "localhost", Credentials: &credentials.Manager{Store: st}, InsecureAuth: true, Forwarder: test.l}
		if err := srv.ListenAndServe("127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: ListenAndServe = %v, want %q", test.name, err, test.want)
		}
	}
	l := &limits.Limiter{Store: st, Limits: none, Next: &queue.Queue{Spool: st, Record: true, Next: sink}}
	if err := l.Check(); err != nil {
		t.Errorf("Check of a right Limiter = %v", err)
	}
}
