package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// monthlyLimit is how many recipients the tenant may have.
const monthlyLimit = 10_000

var limited = credentials.Identity{Tenant: "acme", Domain: domain, Username: "u1"}

func tenThousand(context.Context, credentials.Identity) ([]limits.Limit, error) {
	return []limits.Limit{{Max: monthlyLimit}}, nil
}

// TestLimitKilled has four processes use up one limit, of which two are killed. No
// more than the limit are accepted, and in the end all of it is.
func TestLimitKilled(t *testing.T) {
	services.OnlyLong(t)
	for _, b := range backends[1:] {
		t.Run(b.name, func(t *testing.T) {
			dsn := b.create(t)
			nodes := make([]*node, 4)
			for i := range nodes {
				name := fmt.Sprintf("node%d", i)
				nodes[i] = &node{name: name, settings: settings{Driver: b.driver, Dialect: b.dialect, DSN: dsn, Node: name, Flood: true}}
				nodes[i].start(t)
			}
			st := sqlstore.New(nodes[0].open(t), b.dialect)
			eventually(t, "a third is accepted", func() bool { return acknowledged(nodes) > monthlyLimit/3 })
			nodes[0].kill()
			eventually(t, "half is accepted", func() bool { return acknowledged(nodes) > monthlyLimit/2 })
			nodes[1].kill()
			eventually(t, "nothing more is accepted", func() bool {
				return len(nodes[2].became("refused")) > 0 && len(nodes[3].became("refused")) > 0
			})
			nodes[2].stdin.Close() // gives back what it holds
			nodes[3].stdin.Close()
			<-nodes[2].exited
			<-nodes[3].exited
			said, used := acknowledged(nodes), wantCharged(t, st)
			more := useRest(t, st)
			if used > monthlyLimit || said > used || used+more != monthlyLimit {
				t.Errorf("%d were answered with 250, %d accepted, and %d later, want %d in all", said, used, more, monthlyLimit)
			}
			if got := wantCharged(t, st); got != monthlyLimit {
				t.Errorf("%d are charged in the end, want %d", got, monthlyLimit)
			}
			t.Logf("%d recipients were answered with 250, %d accepted, and %d more after the grants of the dead had ended", said, used, more)
		})
	}
}

// acknowledged returns how many recipients were answered with 250.
func acknowledged(nodes []*node) (sum int64) {
	for _, n := range nodes {
		for message := range n.became("accepted") {
			_, recipients, _ := strings.Cut(message, " ")
			n, _ := strconv.Atoi(recipients)
			sum += int64(n)
		}
	}
	return sum
}

// wantCharged applies all that waits. It returns what is used of the limit, which has to be
// what the counts say was accepted.
func wantCharged(t *testing.T, st *sqlstore.Store) int64 {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	hist := &history.History{Store: st}
	go hist.Run(ctx)
	eventually(t, "all is applied", func() bool {
		j, err := st.Journal(t.Context())
		return err == nil && j.Records == 0
	})
	counts, err := st.Counts(t.Context(), "acme", store.CountFilter{})
	if err != nil || len(counts) != 1 {
		t.Fatalf("Counts: %+v, %v", counts, err)
	}
	list, err := st.Usages(t.Context(), "month/tenant/acme")
	if err != nil || len(list) != 1 || list[0].Used != counts[0].Accepted {
		t.Fatalf("Usages: %+v, %v, want %d used", list, err, counts[0].Accepted)
	}
	return list[0].Used
}

// useRest uses what is left of the limit a quarter of an hour later, when the grants of
// the dead have ended.
func useRest(t *testing.T, st *sqlstore.Store) (n int64) {
	t.Helper()
	q := &queue.Queue{Spool: st, Record: true, Next: relay.ForwarderFunc(nil)}
	l := &limits.Limiter{Store: quarterLater{st}, Limits: tenThousand, Next: q}
	for _, recipients := range []int{50, 1} {
		for {
			err := l.Forward(t.Context(), floodMessage(recipients))
			var refused *relay.ReplyError
			if err != nil && !errors.As(err, &refused) {
				t.Fatal(err)
			}
			if err != nil {
				break
			}
			n += int64(recipients)
		}
	}
	return n
}

// quarterLater is a store as it is for callers whose clocks are a quarter of an hour ahead.
type quarterLater struct{ *sqlstore.Store }

func (q quarterLater) Reserve(ctx context.Context, r store.Reservation) (store.Reserved, error) {
	r.Ended, r.Until = r.Ended.Add(15*time.Minute), r.Until.Add(15*time.Minute)
	return q.Store.Reserve(ctx, r)
}

func floodMessage(recipients int) *relay.Message {
	m := &relay.Message{ID: relay.NewID(), Identity: limited, From: "a@" + domain}
	for i := range recipients {
		m.To = append(m.To, relay.Recipient{Address: fmt.Sprintf("to%d@example.net", i)})
	}
	return m.WithContent(strings.NewReader("Subject: hello\r\n\r\nhello\r\n"), 25)
}

// flood sends messages until the limit is used up, in the process of a node. At the end
// of its standard input it gives back what it holds.
func (s settings) flood(st *sqlstore.Store, tell func(report)) error {
	ctx, end := context.WithCancel(context.Background())
	defer end()
	q := &queue.Queue{Spool: st, Record: true, Next: relay.ForwarderFunc(nil), Hostname: "relay.test", Node: s.Node}
	l := &limits.Limiter{Store: st, Limits: tenThousand, Next: q}
	hist := &history.History{Store: st}
	go hist.Run(ctx)
	running := make(chan error, 1)
	go func() { running <- l.Run(ctx) }()
	tell(report{Addr: "none"})
	var senders sync.WaitGroup
	for sender := range 8 {
		senders.Go(func() { floodUntilRefused(l, 1+sender%4, tell) })
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	end()
	senders.Wait()
	return errors.Join(err, <-running)
}

// floodUntilRefused sends messages until two seconds have passed in which none was
// accepted, or the limit is used up.
func floodUntilRefused(l *limits.Limiter, recipients int, tell func(report)) {
	for last := time.Now(); time.Since(last) < 2*time.Second; {
		m := floodMessage(recipients)
		err := l.Forward(context.Background(), m)
		var refused *relay.ReplyError
		switch {
		case err == nil:
			tell(report{Event: "accepted", Recipient: fmt.Sprintf("%s %d", m.ID, recipients)})
			last = time.Now()
		case errors.As(err, &refused) && refused.Enhanced == "5.7.1":
			tell(report{Event: "refused", Recipient: refused.Text})
			return
		default:
			time.Sleep(20 * time.Millisecond)
		}
	}
	tell(report{Event: "refused", Recipient: "the rest is held"})
}
