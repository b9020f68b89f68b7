package smarthost_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// many makes a message to n recipients that may be taken for some.
func many(n int) *relay.Message {
	var to []string
	for i := range n {
		to = append(to, fmt.Sprintf("r%d@example.com", i))
	}
	m := message(hello, to...)
	m.Partial = true
	return m
}

// recipientsOf returns how often each address got a message, and how many
// recipients each transaction had.
func recipientsOf(up *relaytest.Upstream) (times map[string]int, sizes []int) {
	times = make(map[string]int)
	for _, d := range up.Received() {
		sizes = append(sizes, len(d.To))
		for _, r := range d.To {
			times[r.Address]++
		}
	}
	return times, sizes
}

func wantEachOnce(t *testing.T, up *relaytest.Upstream, n int) {
	t.Helper()
	times, _ := recipientsOf(up)
	for i := range n {
		if addr := fmt.Sprintf("r%d@example.com", i); times[addr] != 1 {
			t.Errorf("%s got it %d times", addr, times[addr])
		}
	}
	if len(times) != n {
		t.Errorf("%d addresses got it, want %d", len(times), n)
	}
}

// refusedOf returns the addresses that err refuses, and fails unless it is partial.
func refusedOf(t *testing.T, err error) (addrs []string) {
	t.Helper()
	var refused *relay.RefusedError
	if !errors.As(err, &refused) || !refused.Partial {
		t.Fatalf("not a partial RefusedError: %v", err)
	}
	for _, r := range refused.Recipients {
		addrs = append(addrs, r.Address)
	}
	return addrs
}

// A recipient that is refused doesn't hold up the others, and they get the message
// in the same transaction.
func TestPartial(t *testing.T) {
	rec := &recorder{then: func(c relaytest.Command) relaytest.Answer {
		switch c.Line {
		case "RCPT TO:<r1@example.com>":
			return relaytest.Answer{Text: "550 5.1.1 unknown"}
		case "RCPT TO:<r3@example.com>":
			return relaytest.Answer{Text: "450 4.2.1 greylisted"}
		}
		return relaytest.Answer{}
	}}
	for _, extensions := range [][]string{nil, without("CHUNKING"), without("PIPELINING"), {}} {
		up := &relaytest.Upstream{Extensions: extensions, Script: rec.script}
		f := start(t, up)
		m := many(5)
		var hops []relay.NextHop
		m.OnDelivered = func(h relay.NextHop) { hops = append(hops, h) }
		err := forward(t, f, m)
		if got := refusedOf(t, err); !slices.Equal(got, []string{"r1@example.com", "r3@example.com"}) {
			t.Errorf("refused: %v", got)
		}
		if _, sizes := recipientsOf(up); !slices.Equal(sizes, []int{3}) {
			t.Errorf("transactions of %v recipients", sizes)
		}
		want := []string{"r0@example.com", "r2@example.com", "r4@example.com"}
		if len(hops) != 1 || !slices.Equal(hops[0].Recipients, want) {
			t.Errorf("OnDelivered: %+v", hops)
		}
		if n := made(up); n != 1 {
			t.Errorf("%d connections", n)
		}
	}
}

// If every recipient is refused, nothing is sent.
func TestPartialForNone(t *testing.T) {
	rec := &recorder{then: on("RCPT", relaytest.Answer{Text: "550 5.1.1 unknown"})}
	f := start(t, &relaytest.Upstream{Script: rec.script})
	if got := refusedOf(t, forward(t, f, many(3))); len(got) != 3 {
		t.Errorf("refused: %v", got)
	}
	if got := rec.verbs(); got != "MAIL RCPT RCPT RCPT RSET" {
		t.Errorf("the upstream saw %s", got)
	}
}

// Without Partial, a message goes to all recipients or to none, in one
// transaction.
func TestAllOrNothing(t *testing.T) {
	up := &relaytest.Upstream{}
	f := start(t, up)
	m := many(250)
	m.Partial = false
	mustForward(t, f, m)
	if _, sizes := recipientsOf(up); !slices.Equal(sizes, []int{250}) {
		t.Errorf("transactions of %v recipients", sizes)
	}

	up = &relaytest.Upstream{Script: atMost(10, "452 4.5.3 too many recipients")}
	err := forward(t, start(t, up), m)
	var refused *relay.RefusedError
	if !errors.As(err, &refused) || refused.Partial || len(refused.Recipients) != 240 || !relay.Temporary(err) {
		t.Errorf("%v", err)
	}
	if n := len(up.Received()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// atMost returns a script that takes n recipients in a transaction.
func atMost(n int, reply string) func(relaytest.Command) relaytest.Answer {
	var mu sync.Mutex
	taken := make(map[int]int)
	return func(c relaytest.Command) relaytest.Answer {
		mu.Lock()
		defer mu.Unlock()
		switch c.Verb {
		case "MAIL":
			taken[c.Conn] = 0
		case "RCPT":
			if taken[c.Conn]++; taken[c.Conn] > n {
				return relaytest.Answer{Text: reply}
			}
		}
		return relaytest.Answer{}
	}
}

// More recipients than fit into a transaction follow at once, in the next, on the
// same connection.
func TestMaxRecipients(t *testing.T) {
	for _, tc := range []struct {
		name       string
		extensions []string
		set        int // MaxRecipients
		script     func(relaytest.Command) relaytest.Answer
		want       []int // recipients of each transaction
	}{
		{name: "the default", want: []int{100, 100, 50}},
		{name: "set", set: 120, want: []int{120, 120, 10}},
		{name: "LIMITS", extensions: append(without(), "LIMITS RCPTMAX=90 OTHER=x RCPTDOMAINMAX=0"), want: []int{90, 90, 70}},
		{name: "LIMITS is larger", set: 120, extensions: append(without(), "LIMITS RCPTMAX=1000"), want: []int{120, 120, 10}},
		{name: "452", script: atMost(80, "452 4.5.3 too many recipients"), want: []int{80, 80, 80, 10}},
		{name: "452 without more", script: atMost(80, "452 too many"), want: []int{80, 80, 80, 10}},
		{name: "552", script: atMost(80, "552 too many"), want: []int{80, 80, 80, 10}},
		{name: "552 with a code", script: atMost(80, "552 5.5.3 too many"), want: []int{80, 80, 80, 10}},
		{name: "550 with the code", script: atMost(80, "550 5.5.3 too many"), want: []int{80, 80, 80, 10}},
		{name: "one by one", extensions: without("PIPELINING"), script: atMost(80, "452 4.5.3 too many"), want: []int{80, 80, 80, 10}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec := &recorder{then: tc.script}
			up := &relaytest.Upstream{Extensions: tc.extensions, Script: rec.script}
			f := start(t, up)
			f.MaxRecipients = tc.set
			mustForward(t, f, many(250))
			wantEachOnce(t, up, 250)
			if _, sizes := recipientsOf(up); !slices.Equal(sizes, tc.want) {
				t.Errorf("transactions of %v recipients, want %v", sizes, tc.want)
			}
			if n := made(up); n != 1 {
				t.Errorf("%d connections", n)
			}
			// The limit is learned once: at most one transaction had more.
			if n := len(rec.lines("RCPT")); n > 250+40 {
				t.Errorf("%d RCPT commands", n)
			}
		})
	}
}

// A server that refuses the whole envelope for its size gets smaller ones.
func TestTooManyRecipientsRefuseTheEnvelope(t *testing.T) {
	limit := atMost(10, "552 5.5.3 too many")
	var mu sync.Mutex
	over := false
	up := &relaytest.Upstream{Extensions: without("CHUNKING"), Script: func(c relaytest.Command) relaytest.Answer {
		a := limit(c)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case c.Verb == "MAIL":
			over = false
		case a.Text != "":
			over = true
		case c.Verb == "DATA" && over:
			return relaytest.Answer{Text: "554 5.5.3 too many recipients"}
		}
		return a
	}}
	f := start(t, up)
	mustForward(t, f, many(25))
	wantEachOnce(t, up, 25)
}

// A full mailbox is not a full envelope.
func TestFullMailbox(t *testing.T) {
	for _, reply := range []string{"452 4.2.2 mailbox full", "452 no space", "552 5.2.2 mailbox full"} {
		up := &relaytest.Upstream{Script: on("RCPT TO:<r1@", relaytest.Answer{Text: reply})}
		f := start(t, up)
		if got := refusedOf(t, forward(t, f, many(4))); !slices.Equal(got, []string{"r1@example.com"}) {
			t.Errorf("%s: refused: %v", reply, got)
		}
		times, _ := recipientsOf(up)
		if len(times) != 3 {
			t.Errorf("%s: %v", reply, times)
		}
	}
}

// A server that hangs up after some refusals, as Postfix does, has settled those
// recipients only.
func TestTooManyErrors(t *testing.T) {
	var mu sync.Mutex
	errs := make(map[int]int)
	up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
		mu.Lock()
		defer mu.Unlock()
		if c.Verb == "RCPT" && strings.Contains(c.Line, "7@") {
			if errs[c.Conn]++; errs[c.Conn] > 5 {
				return relaytest.Answer{Text: "421 4.7.0 too many errors\r\n", Close: true}
			}
			return relaytest.Answer{Text: "550 5.1.1 unknown"}
		}
		return relaytest.Answer{}
	}}
	f := start(t, up)
	if got := refusedOf(t, forward(t, f, many(250))); len(got) != 25 {
		t.Errorf("%d refused: %v", len(got), got)
	}
	times, _ := recipientsOf(up)
	for addr, n := range times {
		if n != 1 {
			t.Errorf("%s got it %d times", addr, n)
		}
	}
	if len(times) != 225 {
		t.Errorf("%d addresses got it", len(times))
	}
}

// A failure after some transactions is reported for the recipients that are left.
func TestPartialThenFailure(t *testing.T) {
	for at, want := range map[string]int{"RCPT TO:<r150@": 150, relaytest.EndOfData: 150} {
		var mu sync.Mutex
		ends := 0
		up := &relaytest.Upstream{Script: func(c relaytest.Command) relaytest.Answer {
			mu.Lock()
			defer mu.Unlock()
			if c.Verb == relaytest.EndOfData {
				ends++
			}
			if c.Verb == at && ends > 1 || strings.HasPrefix(c.Line, at) {
				return relaytest.Answer{Close: true}
			}
			return relaytest.Answer{}
		}}
		f := start(t, up)
		err := forward(t, f, many(250))
		if got := refusedOf(t, err); len(got) != want || got[0] != "r100@example.com" || !relay.Temporary(err) {
			t.Errorf("%s: %d left: %v", at, len(got), got)
		}
		if times, _ := recipientsOf(up); len(times) != 100 {
			t.Errorf("%s: %d got it", at, len(times))
		}
	}
}

// A transaction has recipients of no more domains than the upstream takes (RFC 9422
// section 4.3).
func TestLimitOfDomains(t *testing.T) {
	up := &relaytest.Upstream{Extensions: append(without(), "LIMITS RCPTMAX=5 RCPTDOMAINMAX=2")}
	f := start(t, up)
	var to []string
	for i := range 12 {
		to = append(to, fmt.Sprintf("r%d@%s", i, []string{"a.example", "B.example", "b.EXAMPLE", "c.example", "d.example"}[i%5]))
	}
	m := message(hello, to...)
	m.Partial = true
	mustForward(t, f, m)
	times, sizes := recipientsOf(up)
	if len(times) != 12 || m.To[1].Address != to[1] {
		t.Errorf("%d addresses got it, and the message's recipients are %v", len(times), m.To)
	}
	for _, d := range up.Received() {
		domains := make(map[string]bool)
		for _, r := range d.To {
			domains[strings.ToLower(r.Address[strings.IndexByte(r.Address, '@'):])] = true
		}
		if len(domains) > 2 {
			t.Errorf("a transaction has recipients of %d domains", len(domains))
		}
	}
	if len(sizes) > 4 {
		t.Errorf("%d transactions: %v", len(sizes), sizes)
	}
}
