package smarthost_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
)

// start starts an upstream and returns a Forwarder for it. Both end with the
// test.
func start(t testing.TB, up *relaytest.Upstream) *smarthost.Forwarder {
	t.Helper()
	up.Start()
	t.Cleanup(up.Close)
	cfg := up.ClientTLS()
	cfg.ServerName = "" // the certificate must be the one of Addr's host
	f := &smarthost.Forwarder{
		Addr: up.Addr(), TLSConfig: cfg, Hostname: "relay.example",
		Logger: slog.New(slog.DiscardHandler),
	}
	t.Cleanup(func() { f.Close() })
	return f
}

const hello = "From: a@example.org\r\nSubject: Hello\r\n\r\nHello\r\n"

// message makes a message from a@example.org.
func message(content string, to ...string) *relay.Message {
	m := &relay.Message{ID: "x1", From: "a@example.org"}
	for _, addr := range to {
		m.To = append(m.To, relay.Recipient{Address: addr})
	}
	m = m.WithContent(strings.NewReader(content), int64(len(content)))
	return m
}

// forward forwards m within a time in which everything here happens.
func forward(t testing.TB, f *smarthost.Forwarder, m *relay.Message) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := f.Forward(ctx, m)
	if ctx.Err() != nil {
		t.Fatalf("Forward took too long: %v", err)
	}
	return err
}

func mustForward(t testing.TB, f *smarthost.Forwarder, m *relay.Message) {
	t.Helper()
	if err := forward(t, f, m); err != nil {
		t.Fatalf("Forward: %v", err)
	}
}

// wantTemporary fails unless err is temporary, says all of the words, and isn't
// something that a client could take for an answer to its own message.
func wantTemporary(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("Forward succeeded")
	}
	if !relay.Temporary(err) {
		t.Errorf("final, not temporary: %v", err)
	}
	wantWords(t, err, words...)
}

func wantWords(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, w := range append(words, "smarthost: ") {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error doesn't say %q: %v", w, err)
		}
	}
}

// wantReply fails unless err carries this reply.
func wantReply(t testing.TB, err error, code int, enhanced string) *relay.ReplyError {
	t.Helper()
	var re *relay.ReplyError
	if !errors.As(err, &re) {
		t.Fatalf("no reply in the error: %v", err)
	}
	if re.Code != code || re.Enhanced != enhanced {
		t.Errorf("the reply is %d %s, not %d %s: %v", re.Code, re.Enhanced, code, enhanced, err)
	}
	if want := code >= 500; relay.Temporary(err) == want {
		t.Errorf("%d is temporary: %v", code, !want)
	}
	return re
}

// A recorder is a script that remembers the commands, and leaves the answers to
// another.
type recorder struct {
	then func(relaytest.Command) relaytest.Answer

	mu       sync.Mutex
	commands []relaytest.Command
}

func (r *recorder) script(c relaytest.Command) relaytest.Answer {
	r.mu.Lock()
	r.commands = append(r.commands, c)
	r.mu.Unlock()
	if r.then == nil {
		return relaytest.Answer{}
	}
	return r.then(c)
}

// verbs returns the commands of the transactions so far: from the first MAIL on.
func (r *recorder) verbs() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var verbs []string
	for _, c := range r.commands {
		if c.Verb == "MAIL" || len(verbs) > 0 {
			verbs = append(verbs, c.Verb)
		}
	}
	return strings.Join(verbs, " ")
}

// lines returns the lines with the given verb.
func (r *recorder) lines(verb string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, c := range r.commands {
		if c.Verb == verb {
			lines = append(lines, c.Line)
		}
	}
	return lines
}

// on returns a script with one rule: what to do at commands that begin so.
func on(command string, a relaytest.Answer) func(relaytest.Command) relaytest.Answer {
	return func(c relaytest.Command) relaytest.Answer {
		if c.Verb == command || c.Line != "" && strings.HasPrefix(c.Line, command) {
			return a
		}
		return relaytest.Answer{}
	}
}

// without returns the default extensions except those named.
func without(names ...string) []string {
	kept := []string{}
	for _, e := range relaytest.DefaultExtensions() {
		keep := true
		for _, n := range names {
			keep = keep && !strings.HasPrefix(e, n)
		}
		if keep {
			kept = append(kept, e)
		}
	}
	return kept
}
