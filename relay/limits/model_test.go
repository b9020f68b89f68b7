package limits_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A model is a limit that some nodes share, in virtual time. Nodes send, stand idle, and
// are killed; messages take up to 20 seconds to be kept, fail, and are kept though they
// seem to fail; the journal is not applied for up to 50 minutes; the limit is raised.
type model struct {
	rand  *rand.Rand
	st    *memory.Store
	as    store.Allowances // st, or st with a mistake
	nodes []*limits.Limiter
	work  sync.WaitGroup

	stuck time.Time // until when nothing is applied

	mu   sync.Mutex
	max  int64
	kept int64
	over int64 // by how much Max was exceeded at worst
}

// runModel returns by how many recipients Max was exceeded, and how many could not be
// used in the end.
func runModel(t *testing.T, seed uint64, steps int, mistake func(*memory.Store) store.Allowances) (over, lost int64) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{rand: rand.New(rand.NewPCG(seed, 7)), st: new(memory.Store)}
		m.as = m.st
		if mistake != nil {
			m.as = mistake(m.st)
		}
		m.max = int64(10 + m.rand.IntN(1<<(4+m.rand.IntN(7))))
		for range 1 + m.rand.IntN(5) {
			m.nodes = append(m.nodes, m.node())
		}
		for range steps {
			m.step(t)
		}
		over, lost = m.end(t)
	})
	return over, lost
}

func (m *model) node() *limits.Limiter {
	return &limits.Limiter{Store: m.as, Next: relay.ForwarderFunc(m.keep), Limits: func(context.Context, credentials.Identity) ([]limits.Limit, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return []limits.Limit{{Max: m.max}}, nil
	}}
}

// step lets some time pass and then something happen.
func (m *model) step(t *testing.T) {
	time.Sleep(time.Duration(m.rand.Int64N(int64(20 * time.Second))))
	switch n := m.rand.IntN(100); {
	case n < 6: // killed, and started again
		m.nodes[m.rand.IntN(len(m.nodes))] = m.node()
	case n < 10:
		time.Sleep(time.Duration(m.rand.Int64N(int64(7 * time.Minute))))
	case n < 12:
		m.stuck = time.Now().Add(time.Duration(m.rand.Int64N(int64(50 * time.Minute))))
	case n < 13:
		m.mu.Lock()
		m.max += int64(m.rand.IntN(30))
		m.mu.Unlock()
	default:
		l := m.nodes[m.rand.IntN(len(m.nodes))]
		for range m.rand.IntN(6) {
			recipients := 1 + m.rand.IntN(1+m.rand.IntN(8))
			how := m.rand.IntN(1000)
			took := time.Duration(m.rand.Int64N(int64(20 * time.Second)))
			m.work.Go(func() { m.send(l, recipients, how, took) })
		}
	}
	if !time.Now().Before(m.stuck) {
		applyAll(t, m.st)
	}
	for _, l := range m.nodes {
		l.Tick(t.Context())
	}
}

// A key of the context says how Next answers.
type howKey struct{}

type how struct {
	n    int
	took time.Duration
}

func (m *model) send(l *limits.Limiter, recipients, n int, took time.Duration) {
	msg := &relay.Message{ID: relay.NewID(), Identity: billing, To: make([]relay.Recipient, recipients)}
	l.Forward(context.WithValue(context.Background(), howKey{}, how{n, took}), msg)
}

// keep keeps a message in most cases.
func (m *model) keep(ctx context.Context, msg *relay.Message) error {
	h, _ := ctx.Value(howKey{}).(how)
	time.Sleep(h.took)
	switch {
	case h.n < 30:
		return &relay.ReplyError{Code: 554}
	case h.n < 45:
		return errors.New("it is not kept, but who knows")
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	events := make([]store.Event, len(msg.To))
	for i := range events {
		events[i] = store.Event{Kind: store.EventAccepted, Time: now, Received: now, Tenant: "acme", Mail: msg.ID, N: i, Grants: msg.Grants}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.st.Record(context.Background(), events); err != nil {
		return err
	}
	m.kept += int64(len(events))
	m.over = max(m.over, m.kept-m.max)
	if h.n < 60 {
		return errors.New("it is kept, and the answer is lost")
	}
	return nil
}

// end waits until nothing is held any more, and uses the rest.
func (m *model) end(t *testing.T) (over, lost int64) {
	m.work.Wait()
	for range 10 {
		applyAll(t, m.st)
		time.Sleep(time.Minute)
		for _, l := range m.nodes {
			l.Tick(t.Context())
		}
	}
	l := m.nodes[m.rand.IntN(len(m.nodes))]
	ctx := context.WithValue(t.Context(), howKey{}, how{n: 1000})
	var err error
	for i := 0; err == nil; i++ {
		err = l.Forward(ctx, &relay.Message{ID: fmt.Sprint("end", i), Identity: billing, To: make([]relay.Recipient, 1)})
	}
	return m.over, m.max - m.kept
}

// applyAll applies all records that wait, as package history does.
func applyAll(t *testing.T, st *memory.Store) {
	records, err := st.Records(t.Context(), 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	sums := make(map[store.Grant]int64)
	for _, r := range records {
		ids = append(ids, r.ID)
		for _, e := range r.Events {
			grants, err := store.ParseGrants(e.Grants)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range grants {
				sums[g]++
			}
		}
	}
	var c store.Changes
	for g, n := range sums {
		c.Charges = append(c.Charges, store.Charge{Grant: g, N: n})
	}
	if err := st.Apply(t.Context(), ids, c); err != nil {
		t.Fatal(err)
	}
}

// No recipient more than Max is accepted, on any number of nodes, whatever is killed, and
// in the end all can be used.
func TestModel(t *testing.T) {
	seeds := uint64(300)
	if os.Getenv("GATEPOST_LONG") == "1" {
		seeds = 3000
	}
	began := time.Now()
	for seed := range seeds {
		if time.Since(began) > 15*time.Second { // with the race detector, or on a busy machine
			t.Logf("only %d seeds in %v", seed, time.Since(began))
			break
		}
		if over, lost := runModel(t, seed, 120, nil); over > 0 || lost != 0 {
			t.Errorf("seed %d: %d recipients more than Max, %d could not be used", seed, over, lost)
		}
	}
}

// The model finds mistakes.
func TestModelFindsMistakes(t *testing.T) {
	for name, mistake := range map[string]func(*memory.Store) store.Allowances{
		"grants end while records wait": func(st *memory.Store) store.Allowances { return forgetful{st} },
		"grants end ten minutes early": func(st *memory.Store) store.Allowances {
			return changed{st, func(r *store.Reservation) { r.Ended = r.Ended.Add(10 * time.Minute) }}
		},
		"what others hold is not counted": func(st *memory.Store) store.Allowances {
			return changed{st, func(r *store.Reservation) { r.Max += r.Want }}
		},
	} {
		found := false
		for seed := uint64(0); seed < 200 && !found; seed++ {
			over, _ := runModel(t, seed, 120, mistake)
			found = over > 0
		}
		if !found {
			t.Errorf("%s: no seed shows it", name)
		}
	}
	lost := int64(0)
	for seed := uint64(0); seed < 50 && lost == 0; seed++ {
		_, lost = runModel(t, seed, 120, func(st *memory.Store) store.Allowances {
			return changed{st, func(r *store.Reservation) { r.Ended = time.Time{} }}
		})
	}
	if lost == 0 {
		t.Error("grants never end: no seed shows it")
	}
}

// changed changes what Reserve is asked for.
type changed struct {
	*memory.Store
	change func(*store.Reservation)
}

func (c changed) Reserve(ctx context.Context, r store.Reservation) (store.Reserved, error) {
	c.change(&r)
	return c.Store.Reserve(ctx, r)
}

// forgetful does not look at the records that wait before it drops grants.
type forgetful struct{ *memory.Store }

func (f forgetful) Reserve(ctx context.Context, r store.Reservation) (store.Reserved, error) {
	records, err := f.Store.Records(ctx, 1_000_000)
	if err != nil {
		return store.Reserved{}, err
	}
	var events []store.Event
	for _, record := range records {
		f.Store.SetAside(ctx, record.ID)
		events = append(events, record.Events...)
	}
	got, err := f.Store.Reserve(ctx, r)
	return got, errors.Join(err, f.Store.Record(ctx, events))
}
