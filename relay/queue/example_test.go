package queue_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// An upstream that is away for a moment: the message waits, and arrives.
func ExampleQueue() {
	tries := 0
	upstream := relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		if tries++; tries == 1 {
			return &relay.ReplyError{Code: 451, Enhanced: "4.3.2", Text: "back soon", Host: "mx.example.com"}
		}
		return nil
	})

	done := make(chan bool)
	q := &queue.Queue{
		Spool:    new(memory.Store), // in production one that lasts, of package sqlstore
		Next:     upstream,
		Hostname: "relay.example.net",
		Retry:    func(int) time.Duration { return 10 * time.Millisecond },
		Logger:   slog.New(slog.DiscardHandler),
		OnEvent: func(e queue.Event) {
			switch e := e.(type) {
			case *queue.Queued:
				fmt.Println("queued for", e.Recipient)
			case *queue.Deferred:
				fmt.Println("deferred:", e.Reason)
			case *queue.Delivered:
				fmt.Println("delivered to", e.Recipient)
				close(done)
			}
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx) }()

	// A relay.Server does this for each message it accepts.
	content := []byte("From: shop@acme.example\r\nSubject: Your order\r\n\r\nThank you.\r\n")
	m := &relay.Message{ID: "01", From: "shop@acme.example", To: []relay.Recipient{{Address: "bob@example.com"}}}
	m = m.WithContent(bytes.NewReader(content), int64(len(content)))
	if err := q.Forward(ctx, m); err != nil {
		fmt.Println(err)
	}

	<-done
	cancel()
	fmt.Println("stopped:", <-ended)
	// Output:
	// queued for bob@example.com
	// deferred: mx.example.com 451 4.3.2 back soon
	// delivered to bob@example.com
	// stopped: <nil>
}

// The sender is told what the other server said. Queue.Bounce may put other
// words in the place of these.
func ExampleNotice_Text() {
	n := queue.Notice{
		Subject:  queue.Subject{ID: "01k9zv3q8m", From: "shop@acme.example"},
		Kind:     queue.FailureNotice,
		Received: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Hostname: "relay.example.net",
		Recipients: []queue.NoticeRecipient{{
			Address: "bob@example.com",
			Reply:   store.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user here", Host: "mx.example.com"},
		}},
	}
	fmt.Print(n.Text())
	// Output:
	// Your message of 1 March 2026 at 12:00 UTC could not be delivered
	// to the recipients below, and we have stopped trying. Recipients who are not
	// listed are not affected.
	//
	//     bob@example.com
	//
	// The server mx.example.com answered:
	//     550 5.1.1 no such user here
	//
	// What to do: check the address for typos. If it is right, the mailbox does
	// not exist any more; ask the recipient for another one.
	//
	// Your message is known here as 01k9zv3q8m. It is attached, or its header is.
	//
	// --
	// The mail server relay.example.net
}
