package mx_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// The answer of one host decides whether the next is asked. The first connection is to
// the one host, the second to the next.
func TestNextHostOrNot(t *testing.T) {
	for _, test := range []struct {
		name   string
		at     string // a command
		answer relaytest.Answer
		want   string // "next", "final" or "later"
	}{
		{"no greeting", relaytest.Greeting, relaytest.Answer{Close: true}, "next"},
		{"greeted with 554", relaytest.Greeting, relaytest.Answer{Text: "554 no mail here\r\n", Close: true}, "next"},
		{"greeted with 421", relaytest.Greeting, relaytest.Answer{Text: "421 busy\r\n", Close: true}, "next"},
		{"EHLO and HELO refused", "E", relaytest.Answer{Text: "550 go away\r\n", Close: true}, "next"},
		{"sender: not now", "MAIL", relaytest.Answer{Text: "451 4.3.0 try later"}, "next"},
		{"sender: 421", "MAIL", relaytest.Answer{Text: "421 4.3.0 closing\r\n", Close: true}, "next"},
		{"sender: never", "MAIL", relaytest.Answer{Text: "550 5.7.1 blocked"}, "final"},
		{"recipient: not now", "RCPT", relaytest.Answer{Text: "450 4.7.1 greylisted"}, "next"},
		{"recipient: never", "RCPT", relaytest.Answer{Text: "550 5.1.1 no such user"}, "final"},
		{"line drops at the recipient", "RCPT", relaytest.Answer{Close: true}, "next"},
		{"content: line drops in its middle", relaytest.Content, relaytest.Answer{Close: true}, "later"},
		{"content: not now", relaytest.EndOfData, relaytest.Answer{Text: "452 4.3.1 full"}, "next"},
		{"content: 421", relaytest.EndOfData, relaytest.Answer{Text: "421 4.7.0 deferred\r\n", Close: true}, "next"},
		{"content: never", relaytest.EndOfData, relaytest.Answer{Text: "554 5.7.1 spam"}, "final"},
		{"line drops after the content", relaytest.EndOfData, relaytest.Answer{Close: true}, "later"},
		{"nonsense", "MAIL", relaytest.Answer{Text: "hello?"}, "next"},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := &relaytest.Upstream{Script: on(1, test.at, test.answer)}
			err := forward(t, start(t, up, mailFor("one.example", "two.example")), message())
			switch test.want {
			case "next":
				if err != nil {
					t.Errorf("the next host wasn't asked: %v", err)
				}
				wantHosts(t, up, "two.example")
			case "final":
				if err == nil || relay.Temporary(err) {
					t.Errorf("not final: %v", err)
				}
				wantConnections(t, up, 1)
			case "later":
				wantTemporary(t, err, "one.example")
				wantConnections(t, up, 1)
			}
		})
	}
}

// If no host takes the message, Forward returns the answer of a host rather than the
// silence of another. The error is temporary while a silent host might take the mail.
func TestAnswerWhenNoHostTakesIt(t *testing.T) {
	script := func(c relaytest.Command) relaytest.Answer {
		switch {
		case c.Conn == 2 && c.Verb == "RCPT":
			return relaytest.Answer{Text: "450 4.7.1 greylisted"}
		case c.Conn != 2 && c.Verb == relaytest.Greeting:
			return relaytest.Answer{Text: "554 5.3.2 no\r\n", Close: true}
		}
		return relaytest.Answer{}
	}
	t.Run("one answers", func(t *testing.T) {
		up := &relaytest.Upstream{Script: script}
		err := forward(t, start(t, up, mailFor("one.example", "two.example", "three.example")), message())
		wantReply(t, err, 450, "4.7.1")
		wantConnections(t, up, 3)
		if unreachable(err) {
			t.Errorf("unreachable, though a host answered: %v", err)
		}
	})
	t.Run("none answers", func(t *testing.T) {
		up := &relaytest.Upstream{Script: on(0, relaytest.Greeting, relaytest.Answer{Text: "554 5.3.2 no\r\n", Close: true})}
		err := forward(t, start(t, up, mailFor("one.example", "two.example")), message())
		wantTemporary(t, err, "mx: one.example", "greeting", "554 5.3.2")
		if errors.As(err, new(*relay.ReplyError)) || !unreachable(err) {
			t.Errorf("a refusal of us is taken for one of the message: %v", err)
		}
	})
	t.Run("the rest has no address", func(t *testing.T) {
		z := mailFor("one.example", "gone.example")
		delete(z.addrs, "gone.example")
		up := &relaytest.Upstream{Script: script}
		wantTemporary(t, forward(t, start(t, up, z), message()), "one.example")
	})
}

// A host that takes some of the recipients is the one that mail goes to: those it
// refuses are named at once, so that the others needn't wait.
func TestSomeRecipientsRefused(t *testing.T) {
	up := &relaytest.Upstream{Script: on(0, "RCPT TO:<later@", relaytest.Answer{Text: "450 4.2.1 not now"})}
	f := start(t, up, mailFor("one.example", "two.example"))
	err := forward(t, f, message("b@example.com", "later@example.com"))
	var refused *relay.RefusedError
	if !errors.As(err, &refused) || len(refused.Recipients) != 1 || refused.Recipients[0].Address != "later@example.com" {
		t.Errorf("refused: %v", err)
	}
	wantHosts(t, up, "")
	wantConnections(t, up, 1)
}

func TestDeliveryIsToldWithHostAndReply(t *testing.T) {
	up := &relaytest.Upstream{Script: on(0, relaytest.EndOfData, relaytest.Answer{Text: "250 2.0.0 queued as 77"})}
	m := message()
	told := ""
	m.OnDelivered = func(d relay.NextHop) { told += d.Host + ": " + d.Reply }
	mustForward(t, start(t, up, mailFor("mx.example.com")), m)
	if want := "mx.example.com: 250 2.0.0 queued as 77"; told != want {
		t.Errorf("told %q, want %q", told, want)
	}
	d := up.Received()[0]
	if string(d.Content) != hello || d.From != "a@example.org" || d.Hello != "relay.example" {
		t.Errorf("delivered %+v", d)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	up := &relaytest.Upstream{}
	z := mailFor("mx.example.com")
	z.mx["example.net"] = z.mx["example.com"] // two domains on one host
	f := start(t, up, z)
	for i := range 10 {
		mustForward(t, f, message(fmt.Sprintf("b@example.%s", []string{"com", "net"}[i%2])))
	}
	wantConnections(t, up, 1)
}

func TestConnectionsToAHostAreLimited(t *testing.T) {
	up := &relaytest.Upstream{Script: on(0, relaytest.EndOfData, relaytest.Answer{Wait: 5 * time.Millisecond})}
	f := start(t, up, mailFor("mx.example.com"))
	f.MaxConns = 3
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() { mustForwardIn(t, f.Forward) })
	}
	wg.Wait()
	if made, _ := up.Connections(); made > 3 || len(up.Received()) != 30 {
		t.Errorf("%d connections, %d deliveries", made, len(up.Received()))
	}
}

// mustForwardIn is mustForward for goroutines.
func mustForwardIn(t *testing.T, forward func(context.Context, *relay.Message) error) {
	if err := forward(t.Context(), message()); err != nil {
		t.Error(err)
	}
}

func TestForwardEndsWithItsContext(t *testing.T) {
	up := &relaytest.Upstream{Script: on(0, "MAIL", relaytest.Answer{Wait: time.Hour})}
	f := start(t, up, mailFor("one.example", "two.example"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := f.Forward(ctx, message())
	if wantTemporary(t, err); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
	wantConnections(t, up, 1)
}

func TestForwardAfterClose(t *testing.T) {
	up := &relaytest.Upstream{}
	f := start(t, up, mailFor("mx.example.com"))
	mustForward(t, f, message())
	f.Close()
	wantTemporary(t, forward(t, f, message()))
	wantHosts(t, up, "mx.example.com")
}
