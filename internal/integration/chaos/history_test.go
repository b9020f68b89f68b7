package chaos_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// messagesVariable is how many messages TestHistoryKilled sends, however long that takes.
// Without it the test sends 20,000, or as many as it can in 30 seconds.
const messagesVariable = "CHAOS_MESSAGES"

// messagesToSend returns how many messages TestHistoryKilled sends, and for how long.
func messagesToSend(t *testing.T) (messages int, limit time.Duration) {
	t.Helper()
	text := os.Getenv(messagesVariable)
	if text == "" {
		return 20_000, 30 * time.Second
	}
	messages, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", messagesVariable, err)
	}
	return messages, time.Hour
}

// TestHistoryKilled kills nodes that share a database at any moment, again and again.
// Afterwards history has one activity for each recipient, with the end that the sink
// knows of, and counts that are their sums. Each event was published at least once.
func TestHistoryKilled(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			s := startCountingSink(t)
			n := historyNodes(t, b, s, 3)
			l := &load{conns: 9, also: []string{"+b"}}
			messages, limit := messagesToSend(t)
			kills := killUnderLoad(t, l, n, messages, limit, 1500*time.Millisecond)
			took := waitForHistory(t, n[0])
			st := sqlstore.New(n[0].open(t), b.dialect)
			hist := &history.History{Store: st}
			ends := s.ends()
			wantActivities(t, hist, ends, l)
			late := bounceLate(t, hist, ends)
			wantCounts(t, hist, ends, late, l)
			wantPublished(t, n, ends)
			t.Logf("%d messages got 250, %d recipients, %d kills, %d late bounces; all was applied %v after the last message",
				l.accepted(), len(ends), kills, late, took.Round(time.Millisecond))
		})
	}
}

func historyNodes(t *testing.T, b backend, s *countingSink, count int) []*node {
	dsn := b.create(t)
	nodes := make([]*node, count)
	for i := range nodes {
		nodes[i] = &node{name: fmt.Sprintf("node%d", i), settings: settings{
			Driver: b.driver, Dialect: b.dialect, DSN: dsn, Upstream: s.addr, Workers: 8, Retry: 200 * time.Millisecond,
			Lease: 4 * time.Second, Node: fmt.Sprintf("node%d", i), History: true,
		}}
		nodes[i].start(t)
		_, nodes[i].username, nodes[i].password = nodes[0].account()
	}
	return nodes
}

// killUnderLoad sends messages until so many got their 250, or the time is over, and kills
// a node every so often.
func killUnderLoad(t *testing.T, l *load, nodes []*node, messages int, limit, every time.Duration) (kills int) {
	t.Helper()
	stop := l.run(t, nodes...)
	for end := time.Now().Add(limit); l.accepted() < messages && time.Now().Before(end); kills++ {
		time.Sleep(every/2 + rand.N(every))
		n := nodes[rand.IntN(len(nodes))]
		n.kill()
		n.start(t)
	}
	stop()
	return kills
}

// waitForHistory waits until nothing is left to deliver or to apply, for as long as that
// becomes less. It releases what is held because several processes died while they tried it.
func waitForHistory(t *testing.T, n *node) time.Duration {
	t.Helper()
	st := sqlstore.New(n.open(t), n.Dialect)
	admin := &queue.Admin{Queue: &queue.Queue{Spool: st, Record: true, Next: relay.ForwarderFunc(nil)}}
	began := time.Now()
	least, since := int64(math.MaxInt64), began
	for ; ; time.Sleep(50 * time.Millisecond) {
		depth, err := st.Depth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		j, err := st.Journal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if depth.Deliveries == 0 && j.Records == 0 {
			return time.Since(began)
		}
		if depth.Held > 0 && depth.Held == depth.Deliveries {
			changed, err := admin.Release(t.Context(), queue.Selection{Filter: store.Filter{State: store.StateHeld}})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("released: %+v", changed)
		}
		if left := depth.Deliveries + j.Records; left < least {
			least, since = left, time.Now()
		}
		if time.Since(since) > patience {
			t.Fatalf("%d deliveries (%d held) and %d records are left; log:\n%s", depth.Deliveries, depth.Held, j.Records, n.log.tail())
		}
	}
}

// wantActivities compares each recipient's activity with what the sink knows of it.
func wantActivities(t *testing.T, hist *history.History, ends map[string]store.ActivityState, l *load) {
	t.Helper()
	seen := make(map[string]store.ActivityState)
	for f := (store.ActivityFilter{Limit: 1000}); ; {
		page, err := hist.Tenant("acme").Activities(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range page.List {
			if a.State == store.ActivityRejected {
				continue
			}
			if was, ok := seen[a.Recipient]; ok {
				t.Errorf("%s has two activities: %v and %v", a.Recipient, was, a.State)
			}
			if seen[a.Recipient] = a.State; a.State != ends[a.Recipient] {
				t.Errorf("%s is %v, but the sink knows %v", a.Recipient, a.State, ends[a.Recipient])
			}
		}
		if f.After = page.Next; f.After == "" || t.Failed() {
			break
		}
	}
	for recipient := range ends {
		if seen[recipient] == 0 {
			t.Fatalf("%s has no activity", recipient)
		}
	}
	for token := range l.kept {
		if seen[token+"@example.net"] != store.ActivityDelivered {
			t.Fatalf("%s got 250 and is %v", token, seen[token+"@example.net"])
		}
	}
}

// bounceLate reports some delivered recipients as bounced, each from several
// goroutines and processes.
func bounceLate(t *testing.T, hist *history.History, ends map[string]store.ActivityState) (late int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	page, err := hist.Tenant("acme").Activities(ctx, store.ActivityFilter{States: []store.ActivityState{store.ActivityDelivered}, Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for _, a := range page.List {
				err := hist.Bounced(ctx, "acme", a.Mail, a.Recipient, &relay.ReplyError{Code: 550, Enhanced: "5.1.1", Text: "no such user"})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for _, a := range page.List {
		ends[a.Recipient] = store.ActivityHardBounced
	}
	eventually(t, "late bounces are applied", func() bool {
		j, err := hist.Backlog(ctx)
		return err == nil && j.Records == 0
	})
	return len(page.List)
}

// wantCounts compares the counts with what the sink knows.
func wantCounts(t *testing.T, hist *history.History, ends map[string]store.ActivityState, late int, l *load) {
	t.Helper()
	s, err := hist.Tenant("acme").Statistics(t.Context(), history.Last(2, time.Now(), nil), "", "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[store.ActivityState]int64{}
	for _, end := range ends {
		want[end]++
	}
	c := s.Total
	if c.Accepted != int64(len(ends)) || c.Delivered != want[store.ActivityDelivered] || c.HardBounced != want[store.ActivityHardBounced] ||
		c.SoftBounced != 0 || c.Canceled != 0 {
		t.Errorf("counts are %+v; the sink has %d recipients, of which %v are so", c, len(ends), want)
	}
	if want[store.ActivityHardBounced] <= int64(late) || c.Deferred == 0 {
		t.Errorf("no bounce or nothing deferred: the test tests nothing (%+v)", c)
	}
	t.Logf("counts: %+v; the sink: %d recipients, %v", c, len(ends), want)
}

// wantPublished checks that the end of each recipient was published, and that no event
// had two IDs.
func wantPublished(t *testing.T, nodes []*node, ends map[string]store.ActivityState) {
	t.Helper()
	ids, ended, again := make(map[string]string), make(map[string]bool), 0
	for _, n := range nodes {
		for event, times := range n.became("published") {
			id, what, _ := strings.Cut(event, " ")
			if was, ok := ids[id]; ok {
				if again++; was != what {
					t.Errorf("%s is %q and %q", id, was, what)
				}
			}
			again += times - 1
			ids[id] = what
			i := strings.LastIndexByte(what, ' ')
			if kind := what[:i]; kind == store.EventDelivered.String() || kind == store.EventHardBounced.String() {
				ended[what[i+1:]] = true
			}
		}
	}
	if len(ended) != len(ends) {
		t.Errorf("the ends of %d recipients were published, want %d", len(ended), len(ends))
	}
	t.Logf("%d events were published, %d of them again", len(ids), again)
}

// A countingSink is an upstream that only remembers who got something, so that it has
// room for many messages. It refuses the second recipient of every fifth message for
// good, and that of every seventh once for now.
type countingSink struct {
	addr string

	mu       sync.Mutex
	taken    map[string]int
	refused  map[string]bool
	deferred map[string]bool
}

func startCountingSink(t *testing.T) *countingSink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &countingSink{addr: l.Addr().String(), taken: make(map[string]int), refused: make(map[string]bool), deferred: make(map[string]bool)}
	var all sync.WaitGroup
	var mu sync.Mutex
	conns := make(map[net.Conn]bool)
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			all.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return s
}

// ends returns how each recipient ended. Reports to the sender are no recipients.
func (s *countingSink) ends() map[string]store.ActivityState {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := make(map[string]store.ActivityState)
	for recipient := range s.taken {
		ends[recipient] = store.ActivityDelivered
	}
	for recipient := range s.refused {
		ends[recipient] = store.ActivityHardBounced
	}
	delete(ends, "load@"+domain)
	return ends
}

// serve takes messages until the client is gone.
func (s *countingSink) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewScanner(conn)
	in.Buffer(nil, 1<<20)
	out := bufio.NewWriter(conn)
	say := func(line string) {
		out.WriteString(line + "\r\n")
		out.Flush()
	}
	say("220 sink.test")
	var to []string
	for in.Scan() {
		switch verb, arg, _ := strings.Cut(in.Text(), " "); strings.ToUpper(verb) {
		case "RCPT":
			address, _, _ := strings.Cut(strings.TrimPrefix(arg, "TO:<"), ">")
			answer := s.recipient(address)
			if answer[0] == '2' {
				to = append(to, address)
			}
			say(answer)
		case "DATA":
			say("354 go on")
			for in.Scan() && in.Text() != "." {
			}
			s.take(to)
			say("250 2.0.0 taken")
		case "MAIL", "RSET":
			to = nil
			say("250 2.0.0 ok")
		case "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			say("250 sink.test")
		}
	}
}

// recipient answers RCPT.
func (s *countingSink) recipient(address string) string {
	number, _ := strconv.Atoi(strings.TrimPrefix(tokenOf(address), "t"))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !strings.Contains(address, "+b@"):
	case number%5 == 0:
		s.refused[address] = true
		return "550 5.1.1 no such user"
	case number%7 == 0 && !s.deferred[address]:
		s.deferred[address] = true
		return "451 4.3.0 later"
	}
	return "250 2.1.5 ok"
}

func (s *countingSink) take(to []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, address := range to {
		s.taken[address]++
	}
}
