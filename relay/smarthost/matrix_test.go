package smarthost_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// TestMatrix plays every cell of the tables in docs/delivery.md: what the upstream
// answers at a step, on a first and on a kept connection, and what becomes of the
// message.
func TestMatrix(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	cells := 0
	var conn string      // "first" or "kept"
	var answers []string // of the columns
	for line := range strings.Lines(string(doc)) {
		row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		switch {
		case row[0] == "first" || row[0] == "kept":
			conn, answers = row[0], row[1:]
		case len(row) != len(answers)+1:
			answers = nil
		case answers != nil && !strings.HasPrefix(row[0], "--"):
			for i, answer := range answers {
				cells++
				name := fmt.Sprintf("%s, %s, %s", conn, row[0], answer)
				kept, step, want := conn == "kept", row[0], row[i+1]
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					if got := playCell(t, kept, step, answer); got != want {
						t.Errorf("the message was %s, want %s", got, want)
					}
				})
			}
		}
	}
	if cells != 14*7 {
		t.Errorf("%d cells in the tables", cells)
	}
}

// answerFor returns what the upstream does in a column of the table.
func answerFor(answer string) relaytest.Answer {
	switch answer {
	case "2yz":
		return relaytest.Answer{Text: "250 2.0.0 fine"}
	case "4yz":
		return relaytest.Answer{Text: "451 4.3.0 not now"}
	case "421":
		return relaytest.Answer{Text: "421 4.3.2 closing\r\n", Close: true}
	case "5yz":
		return relaytest.Answer{Text: "550 5.1.1 never"}
	case "close":
		return relaytest.Answer{Close: true}
	case "reset":
		return relaytest.Answer{Reset: true}
	}
	return relaytest.Answer{Wait: time.Minute}
}

// playCell returns what becomes of a message if the upstream answers so at a step
// of the first connection: of its first message, or with kept of its second.
func playCell(t *testing.T, kept bool, step, answer string) string {
	var armed atomic.Bool
	armed.Store(!kept)
	up := &relaytest.Upstream{Username: "relay", Password: secret, Discard: true}
	up.Script = func(c relaytest.Command) relaytest.Answer {
		if c.Conn == 1 && armed.Load() && strings.EqualFold(c.Verb, step) {
			return answerFor(answer)
		}
		return relaytest.Answer{}
	}
	up.Extensions = without("CHUNKING")
	f := start(t, up)
	f.Username, f.Password = "relay", credentials.NewPassword(secret)
	if answer == "silence" {
		f.Timeout, f.EndTimeout = 2*time.Second, 2*time.Second
	}
	outcomes := make(chan string, 10)
	q := &queue.Queue{
		Spool: new(memory.Store), Next: f, Hostname: "relay.example", Logger: slog.New(slog.DiscardHandler),
		Bounce: func(queue.Notice) string { return "" },
		OnEvent: func(e queue.Event) {
			switch e.(type) {
			case *queue.Delivered:
				outcomes <- "delivered"
			case *queue.Deferred:
				outcomes <- "deferred"
			case *queue.Bounced, *queue.Expired:
				outcomes <- "bounced"
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	content := hello
	if step == "content" { // more than the systems on both sides buffer
		content += strings.Repeat(strings.Repeat("x", 78)+"\r\n", 200_000)
	}
	for n := range 2 {
		m := message(content, "b@example.com")
		m.ID = fmt.Sprintf("message%d", n)
		if err := q.Forward(ctx, m); err != nil {
			t.Fatal(err)
		}
		got := <-outcomes
		if !kept || n == 1 {
			return got
		}
		if got != "delivered" {
			t.Fatalf("the first message was %s", got)
		}
		armed.Store(true)
	}
	return ""
}
