package daemon

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A process whose queue has ended, because another one has the same Node, does not go on
// accepting mail.
func TestServeEndsWithItsQueue(t *testing.T) {
	st := new(memory.Store)
	node := func() *queue.Queue {
		return &queue.Queue{
			Spool: st, Node: "one", Lease: time.Second, Logger: slog.New(slog.DiscardHandler),
			Next: relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil }),
		}
	}
	q, ended, done := node(), make(chan error, 1), make(chan struct{})
	srv := &relay.Server{
		Hostname: "localhost", Credentials: &credentials.Manager{Store: st}, Forwarder: q,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}},
	}
	set := Settings{Listen: "127.0.0.1:0", ListenTLS: "127.0.0.1:0", ShutdownTimeout: time.Second}
	beside := func(ctx context.Context) error {
		defer close(done)
		<-ctx.Done()
		return nil
	}
	go func() { ended <- set.Serve(t.Context(), srv, slog.New(slog.DiscardHandler), q.Run, beside) }()
	for joined := false; !joined; time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("Serve returned %v at once", err)
		default:
			nodes, err := st.Nodes(t.Context())
			joined = err == nil && len(nodes) == 1
		}
	}
	other := node()
	go other.Run(t.Context())
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "another process has started as the same node") {
			t.Errorf("Serve returned %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Serve goes on without its queue")
	}
	<-done
}
