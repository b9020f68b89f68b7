package relay_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// The error about recipients names each one that is refused, and nothing is sent.
func TestSubmitRefusesRecipients(t *testing.T) {
	r := startRelay(t, func(s *relay.Server) { s.AllowRecipient = decide(nil) })
	_, err := r.Server.Submit(t.Context(), relay.Submission{
		Identity: identity(t, r), From: "shop@acme.example", To: []string{"no@example.com", "bob@example.com", "bob", "no@example.net"},
		Content: strings.NewReader(hello),
	})
	var refused *relay.RefusedError
	if !errors.As(err, &refused) || refused.Partial || len(refused.Recipients) != 3 {
		t.Fatalf("got the error %v, want one that names three recipients", err)
	}
	for i, want := range []string{"no@example.com", "bob", "no@example.net"} {
		if got := refused.Recipients[i].Address; got != want {
			t.Errorf("got the address %q, want %q", got, want)
		}
	}
	if n := len(r.Messages()); n != 0 {
		t.Errorf("got %d messages, want none", n)
	}
}

// An address cannot bring parameters along, nor anything else.
func TestSubmitAddressesAreWhole(t *testing.T) {
	r := startRelay(t, nil)
	for _, addr := range []string{
		"shop@acme.example> SIZE=1 <", "shop@acme.example>", "<shop@acme.example>", "shop@acme.example NOTIFY=NEVER", "shop@acme.example\r\nRSET",
		"shop@acme.example\x00", " shop@acme.example", "shop@acme.example ", "shop@acme.example,eve@example.com", "Shop <shop@acme.example>",
	} {
		for _, sub := range []relay.Submission{{From: addr, To: []string{"bob@example.com"}}, {From: "shop@acme.example", To: []string{addr}}} {
			sub.Identity, sub.Content = identity(t, r), strings.NewReader(hello)
			var re *relay.ReplyError
			if _, err := r.Server.Submit(t.Context(), sub); !errors.As(err, &re) || re.Code != 501 {
				t.Errorf("%q: got the error %v, want 501", addr, err)
			}
		}
	}
}

// The longest reason of a suspension is told whole, also behind the longest domain.
func TestSubmitTellsWholeReason(t *testing.T) {
	r := startRelay(t, nil)
	label := strings.Repeat("a", 60) + "."
	domain, reason := label+label+label+label+"example", strings.Repeat("x", 200)
	acme := r.Credentials.Tenant(r.Tenant)
	if _, err := acme.AddDomain(t.Context(), domain); err != nil {
		t.Fatal(err)
	}
	user, _, err := acme.AddUser(t.Context(), domain, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := acme.SuspendDomain(t.Context(), domain, reason); err != nil {
		t.Fatal(err)
	}
	_, err = r.Server.Submit(t.Context(), relay.Submission{
		Identity: credentials.IdentityOf(user), From: "a@" + domain, To: []string{"bob@example.com"}, Content: strings.NewReader(hello),
	})
	var re *relay.ReplyError
	if !errors.As(err, &re) || re.Enhanced != "5.7.13" || !strings.HasSuffix(re.Text, "a... is suspended: "+reason) {
		t.Errorf("got the error %v, want 5.7.13 with the whole reason", err)
	}
}

// Submit needs no listener, no certificate and no address. After Shutdown nothing is
// left, and it refuses.
func TestSubmitWithoutListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := relaytest.NewUnstartedRelay(t)
		r.Server.TLSConfig = nil
		r.Server.Forwarder = r.Record(r.Server.Forwarder)
		sub := relay.Submission{Identity: identity(t, r), From: "shop@acme.example", To: []string{"bob@example.com"}}
		for range 2 {
			sub.Content = strings.NewReader(hello)
			if _, err := r.Server.Submit(t.Context(), sub); err != nil {
				t.Fatal(err)
			}
		}
		if got := string(r.Messages()[0].Data); !strings.HasPrefix(got, "Received: by relay.test id "+r.Messages()[0].ID+";\r\n") {
			t.Errorf("got the message\n%s", got)
		}
		if err := r.Server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := r.Server.Submit(t.Context(), sub); err != relay.ErrServerClosed {
			t.Errorf("after Shutdown: got the error %v, want ErrServerClosed", err)
		}
	})
	srv := new(relay.Server)
	if _, err := srv.Submit(t.Context(), relay.Submission{}); err == nil || !strings.Contains(err.Error(), "Credentials is required") {
		t.Errorf("got the error %v, want one about the fields", err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
	if _, err := new(relay.Server).Submit(t.Context(), relay.Submission{}); err == nil {
		t.Error("got no error from an empty Server")
	}
}

// Shutdown waits for a Submit in progress, and Close ends it.
func TestSubmitWhileClosing(t *testing.T) {
	for _, name := range []string{"Shutdown", "Close"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := relaytest.NewUnstartedRelay(t)
				r.Server.Forwarder = relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
					select {
					case <-ctx.Done():
					case <-time.After(time.Minute):
					}
					return ctx.Err()
				})
				result := make(chan error, 1)
				go func() {
					_, err := r.Server.Submit(t.Context(), relay.Submission{
						Identity: identity(t, r), From: "shop@acme.example", To: []string{"bob@example.com"}, Content: strings.NewReader(hello),
					})
					result <- err
				}()
				synctest.Wait()
				began := time.Now()
				if name == "Close" {
					r.Server.Close()
				} else if err := r.Server.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				var re *relay.ReplyError
				switch err := <-result; {
				case name == "Shutdown" && (err != nil || time.Since(began) != time.Minute):
					t.Errorf("got %v after %v, want nil after a minute", err, time.Since(began))
				case name == "Close" && (!errors.As(err, &re) || re.Code != 451 || time.Since(began) > 0):
					t.Errorf("got %v after %v, want 451 at once", err, time.Since(began))
				}
			})
		})
	}
}

func TestSubmitErrors(t *testing.T) {
	broken := errors.New("broken")
	r := startRelay(t, func(s *relay.Server) {
		s.Forwarder = relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error { <-ctx.Done(); return ctx.Err() })
	})
	sub := relay.Submission{Identity: identity(t, r), From: "shop@acme.example", To: []string{"bob@example.com"}}
	sub.Content = iotest.ErrReader(broken)
	if _, err := r.Server.Submit(t.Context(), sub); !errors.Is(err, broken) {
		t.Errorf("got the error %v, want that of Content", err)
	}
	var re *relay.ReplyError
	sub.Content = nil
	if _, err := r.Server.Submit(t.Context(), sub); !errors.As(err, &re) || re.Code != 550 {
		t.Errorf("without a content: got the error %v, want 550", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	sub.Content = strings.NewReader(hello)
	if _, err := r.Server.Submit(ctx, sub); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &re) || re.Code != 451 {
		t.Errorf("when ctx ended: got the error %v, want 451 and that of ctx", err)
	}
	if _, err := r.Server.Submit(ctx, sub); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &re) && re.Code == 550 {
		t.Errorf("after ctx has ended: got the error %v, want that of ctx", err)
	}
	if n := len(r.Messages()); n != 0 {
		t.Errorf("got %d messages, want none", n)
	}
}

// Many callers submit while the Server is shut down. Each message is taken exactly
// if its caller got no error.
func TestSubmitManyAtOnce(t *testing.T) {
	r := startRelay(t, nil)
	id := identity(t, r)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := make(map[string]bool)
	for i := range 50 {
		wg.Go(func() {
			got, err := r.Server.Submit(t.Context(), relay.Submission{
				Identity: id, From: "shop@acme.example", To: []string{"bob@example.com"}, Content: strings.NewReader(hello),
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				taken[got] = true
			} else if err != relay.ErrServerClosed {
				t.Error(err)
			}
			if i == 25 {
				wg.Go(func() { r.Server.Shutdown(t.Context()) })
			}
		})
	}
	wg.Wait()
	messages := r.Messages()
	if len(messages) != len(taken) || len(taken) == 0 {
		t.Errorf("got %d messages, and %d were taken", len(messages), len(taken))
	}
	for _, m := range messages {
		if !taken[m.ID] {
			t.Errorf("the caller of %s got an error", m.ID)
		}
	}
}

// An Identity that was forgotten is said, and not taken for one that is not valid any more.
func TestSubmitWithoutIdentity(t *testing.T) {
	r := startRelay(t, nil)
	_, err := r.Server.Submit(t.Context(), relay.Submission{From: "shop@acme.example", To: []string{"bob@example.com"}, Content: strings.NewReader(hello)})
	var re *relay.ReplyError
	if err == nil || errors.As(err, &re) || !strings.Contains(err.Error(), "Submission.Identity is required") {
		t.Errorf("got the error %v", err)
	}
}
