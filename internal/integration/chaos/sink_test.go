package chaos_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// A sink is the upstream. It remembers what it took, from whom and when.
type sink struct {
	upstream relaytest.Upstream

	mu       sync.Mutex
	gate     chan struct{} // if not nil, messages are answered only after it is closed
	arrivals map[string][]arrival
	odd      []string // what is not as it was sent
	seen     int
}

// An arrival is a message that the sink took for a recipient.
type arrival struct {
	token string
	node  string // what the node called itself
	from  string
	text  string // if it is a bounce
	at    time.Time
}

// newSink starts a sink that does what script says; nil means that it takes
// everything.
func newSink(t *testing.T, script func(relaytest.Command) relaytest.Answer) *sink {
	s := &sink{arrivals: make(map[string][]arrival)}
	s.upstream.NoTLS = true
	s.upstream.Script = func(c relaytest.Command) relaytest.Answer {
		if c.Verb == relaytest.EndOfData {
			s.wait()
		}
		if script == nil {
			return relaytest.Answer{}
		}
		return script(c)
	}
	s.upstream.Start()
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(done) })
	t.Cleanup(func() {
		s.open()
		s.upstream.Close()
		close(done)
		watching.Wait()
	})
	return s
}

// shut makes the sink answer no message until open is called.
func (s *sink) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = make(chan struct{})
}

func (s *sink) open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gate != nil {
		close(s.gate)
		s.gate = nil
	}
}

func (s *sink) wait() {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
}

// watch takes note of what has arrived.
func (s *sink) watch(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-time.After(10 * time.Millisecond):
			s.look()
		}
	}
}

func (s *sink) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.upstream.Received()
	for _, d := range got[s.seen:] {
		a := arrival{node: d.Hello, from: d.From, at: time.Now()}
		if d.From == "" {
			a.text = string(d.Content)
		} else {
			a.token = s.check(&d)
		}
		for _, r := range d.To {
			s.arrivals[r.Address] = append(s.arrivals[r.Address], a)
		}
	}
	s.seen = len(got)
}

// check looks whether a message is whole, and returns its token.
func (s *sink) check(d *relaytest.Received) string {
	_, text, _ := strings.Cut(string(d.Content), "Subject: ")
	token, _, _ := strings.Cut(text, "\r\n")
	size := smallSize
	if len(d.Content) > largeSize {
		size = largeSize
	}
	_, want, _ := strings.Cut(string(content(token, size)), "\r\n\r\n")
	if _, got, _ := strings.Cut(string(d.Content), "\r\n\r\n"); got != want {
		s.odd = append(s.odd, fmt.Sprintf("%s: %d bytes, want %d", token, len(got), len(want)))
	}
	for _, r := range d.To {
		if tokenOf(r.Address) != token {
			s.odd = append(s.odd, fmt.Sprintf("%s came to %s", token, r.Address))
		}
	}
	return token
}

// all returns what has arrived, by recipient.
func (s *sink) all() map[string][]arrival {
	s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.arrivals)
}

// wantAll waits until every message that got its 250 has arrived, and fails the
// test if one doesn't, or isn't what was sent.
func (s *sink) wantAll(t *testing.T, l *load, nodes ...*node) {
	t.Helper()
	var missing []string
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		missing = nil
		arrived := s.all()
		l.mu.Lock()
		for token := range l.kept {
			if len(arrived[token+"@example.net"]) == 0 {
				missing = append(missing, token)
			}
		}
		l.mu.Unlock()
		if len(missing) == 0 || time.Now().After(end) {
			break
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		t.Errorf("%d of %d messages with a 250 have not arrived: %.200v", len(missing), l.accepted(), missing)
		for _, n := range nodes {
			t.Logf("log of %s:\n%s", n.name, n.log.tail())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.odd) > 0 {
		t.Errorf("%d messages are not what was sent: %.5v", len(s.odd), s.odd)
	}
}

// repeats returns how many deliveries were made again after one by the node of
// that name was.
func (s *sink) repeats() map[string]int {
	times := make(map[string]int)
	for _, list := range s.all() {
		for _, a := range list[:len(list)-1] {
			times[a.node]++
		}
	}
	return times
}
