package storetest_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// More ways to write a spool wrongly, see spoolMistakes: lanes, nodes,
// suspensions and filters.
func init() {
	for name, m := range map[string]spoolMistake{
		"the tenant that is due longest takes all": {
			make:  func(s store.Spool) store.Spool { return greedy{s} },
			name:  "Lease/Tenants",
			words: "Tenants take turns",
		},
		"each call begins with the first lanes": {
			make:  func(s store.Spool) store.Spool { return firstLanes{s} },
			name:  "Lease/EachLane",
			words: "The turns go on from call to call",
		},
		"each call begins with the first tenants": {
			make:  func(s store.Spool) store.Spool { return firstLanes{s} },
			name:  "Lease/EachTenant",
			words: "The turns go on from call to call",
		},
		"lanes that other processes add are not looked for": {
			make:  func(s store.Spool) store.Spool { return &knowsLanes{Spool: s} },
			name:  "Lease/OtherProcess",
			words: "Later calls return them.",
		},
		"what was suspended is not leased for long": {
			make:  func(s store.Spool) store.Spool { return forgetsResume{s, make(map[string]bool)} },
			name:  "Lease/Resumed",
			words: "Deliveries of a suspended tenant or to a suspended destination are not leased.",
		},
		"attempts are counted when they end": {
			make:  func(s store.Spool) store.Spool { return countsLate{s} },
			name:  "Lease/Due",
			words: "one more Attempt",
		},
		"suspensions are only listed": {
			make:  func(s store.Spool) store.Spool { return heedless{s} },
			name:  "Lease/Suspended",
			words: "Deliveries of a suspended tenant or to a suspended destination are not leased.",
		},
		"a filter is applied as far as it is known": {
			make:  func(s store.Spool) store.Spool { return oldFilter{s} },
			name:  "Deliveries/Filters",
			words: "Deliveries lists the deliveries that match the filter",
		},
		"a list of a destination reads what waits, then what is leased": {
			make:  func(s store.Spool) store.Spool { return inTwoSteps{s} },
			name:  "Race/OfADestination",
			words: "each method is atomic",
		},
		"the oldest mail is the one that was received first": {
			make:  func(s store.Spool) store.Spool { return oldestByTime{s} },
			name:  "Backlogs/Oldest",
			words: "Oldest is the Received of the mail with the least ID",
		},
		"the ID is all that is compared": {
			make:  func(s store.Spool) store.Spool { return anyTwin{s} },
			name:  "Put/AnotherMail",
			words: "It returns ErrTaken if that mail differs",
		},
		"a notice is compared like other mail": {
			make:  func(s store.Spool) store.Spool { return strictNotices{s} },
			name:  "Put/Notice",
			words: "If a mail has Notice, only Notice is compared.",
		},
		"a node is removed whatever its beat": {
			make:  func(s store.Spool) store.Spool { return removesAll{s} },
			name:  "Remove/Beat",
			words: "if its Beat is still n.Beat",
		},
		"two nodes of one name": {
			make:  func(s store.Spool) store.Spool { return renames{s} },
			name:  "Join/SameName",
			words: "It removes every other node of the same Name",
		},
		"the last change of a suspension wins": {
			make:  func(s store.Spool) store.Spool { return lastWins{s} },
			name:  "Suspend/Versions",
			words: "otherwise Suspend returns ErrConflict and changes nothing",
		},
		"each process has its own clock": {
			make:  func(s store.Spool) store.Spool { return ownClock{s, new(int)} },
			name:  "Renew/Beats",
			words: "the same clock for all processes",
		},
		"only those that are listed as nodes can die": {
			make:  func(s store.Spool) store.Spool { return forgetful{s} },
			name:  "Join/Adds",
			words: "those that were removed but have leased something since",
		},
		"time for which a delivery was held is forgotten": {
			make:  func(s store.Spool) store.Spool { return neverIdle{s} },
			name:  "Settle/EachRecipient",
			words: "Settle records outcomes",
		},
		"time for which a delivery was held counts as age": {
			make:  func(s store.Spool) store.Spool { return agesAlways{s} },
			name:  "Lease/Received",
			words: "the Mail's Received plus Idle is then or before",
		},
	} {
		spoolMistakes[name] = m
	}
}

// neverIdle loses Idle in Settle.
type neverIdle struct{ store.Spool }

func (s neverIdle) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	outcomes = slices.Clone(outcomes)
	for i := range outcomes {
		outcomes[i].Idle = 0
	}
	return s.Spool.Settle(ctx, outcomes)
}

// agesAlways compares Received and not Idle.
type agesAlways struct{ store.Spool }

func (s agesAlways) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	deliveries = slices.Clone(deliveries)
	for i := range deliveries {
		if len(deliveries) == 1 && deliveries[i].Node == "" { // Put/AsGiven has three
			deliveries[i].Idle = 0
		}
	}
	return s.Spool.Put(ctx, m, deliveries, body, events...)
}

// greedy leases the lanes one after another.
type greedy struct{ store.Spool }

func (s greedy) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	if r.Deaths > 0 || r.Probe || len(r.Skip) > 0 || !r.Received.IsZero() {
		return s.Spool.Lease(ctx, r)
	}
	backlogs, err := s.Backlogs(ctx)
	if err != nil {
		return nil, err
	}
	var all []store.Leased
	for i := range backlogs {
		one := r
		one.Limit -= len(all)
		for j := range backlogs {
			if j != i {
				one.Skip = append(one.Skip, backlogs[j].Lane)
			}
		}
		leased, err := s.Spool.Lease(ctx, one)
		if err != nil {
			return nil, err
		}
		all = append(all, leased...)
	}
	return all, nil
}

// firstLanes serves the first lanes that have something, one delivery of each.
type firstLanes struct{ store.Spool }

func (s firstLanes) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	if r.Deaths > 0 || r.Probe || len(r.Skip) > 0 || !r.Received.IsZero() || r.Limit > 2 {
		return s.Spool.Lease(ctx, r)
	}
	backlogs, err := s.Backlogs(ctx)
	if err != nil {
		return nil, err
	}
	backlogs = slices.DeleteFunc(backlogs, func(b store.Backlog) bool { return b.Leased+b.Held == b.Deliveries })
	for _, b := range backlogs[min(r.Limit, len(backlogs)):] {
		r.Skip = append(r.Skip, b.Lane)
	}
	return s.Spool.Lease(ctx, r)
}

// knowsLanes leases for ever from the lanes that it has found by its first Lease.
type knowsLanes struct {
	store.Spool
	known map[store.Lane]bool
}

func (s *knowsLanes) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	backlogs, err := s.Backlogs(ctx)
	if err != nil || len(backlogs) < 500 {
		return s.Spool.Lease(ctx, r)
	}
	first := s.known == nil
	if first {
		s.known = make(map[store.Lane]bool)
	}
	for _, b := range backlogs {
		if first {
			s.known[b.Lane] = true
		} else if !s.known[b.Lane] {
			r.Skip = append(r.Skip, b.Lane)
		}
	}
	return s.Spool.Lease(ctx, r)
}

// forgetsResume skips a destination for ever that was suspended once.
type forgetsResume struct {
	store.Spool
	suspended map[string]bool
}

func (s forgetsResume) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	list, err := s.Suspensions(ctx)
	if err != nil || r.Probe || r.Deaths > 0 {
		return s.Spool.Lease(ctx, r)
	}
	for _, su := range list {
		s.suspended[su.Destination] = true
	}
	backlogs, err := s.Backlogs(ctx)
	for _, b := range backlogs {
		if s.suspended[b.Destination] {
			r.Skip = append(r.Skip, b.Lane)
		}
	}
	if err != nil {
		return nil, err
	}
	return s.Spool.Lease(ctx, r)
}

type countsLate struct{ store.Spool }

func (s countsLate) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	leased, err := s.Spool.Lease(ctx, r)
	for i := range leased {
		leased[i].Delivery.Attempts--
	}
	return leased, err
}

type heedless struct{ store.Spool }

func (s heedless) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	list, err := s.Suspensions(ctx)
	if err != nil {
		return nil, err
	}
	for _, su := range list {
		s.Spool.Resume(ctx, su)
	}
	leased, err := s.Spool.Lease(ctx, r)
	for _, su := range list {
		su.Version = 0
		s.Spool.Suspend(ctx, su)
	}
	return leased, err
}

// oldFilter does not know the last fields of a Filter.
type oldFilter struct{ store.Spool }

func (s oldFilter) Deliveries(ctx context.Context, f store.Filter, page store.Page) ([]store.Leased, error) {
	f.State, f.Reason, f.Since, f.Until = 0, "", time.Time{}, time.Time{}
	return s.Spool.Deliveries(ctx, f, page)
}

// inTwoSteps misses what is given back between the steps.
type inTwoSteps struct{ store.Spool }

func (s inTwoSteps) Deliveries(ctx context.Context, f store.Filter, page store.Page) ([]store.Leased, error) {
	if f.Destination == "" || f.State != 0 {
		return s.Spool.Deliveries(ctx, f, page)
	}
	var all []store.Leased
	for _, f.State = range []store.State{store.StateWaiting, store.StateLeased, store.StateHeld} {
		list, err := s.Spool.Deliveries(ctx, f, page)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
		time.Sleep(time.Millisecond)
	}
	slices.SortFunc(all, func(a, b store.Leased) int { return strings.Compare(a.Delivery.Key(), b.Delivery.Key()) })
	return all[:min(len(all), page.Size())], nil
}

type oldestByTime struct{ store.Spool }

func (s oldestByTime) Depth(ctx context.Context) (store.Depth, error) {
	depth, err := s.Spool.Depth(ctx)
	if err != nil {
		return depth, err
	}
	list, err := s.Deliveries(ctx, store.Filter{}, store.Page{})
	for _, l := range list {
		if l.Mail.Received.Before(depth.Oldest) {
			depth.Oldest = l.Mail.Received
		}
	}
	return depth, err
}

type anyTwin struct{ store.Spool }

func (s anyTwin) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	err := s.Spool.Put(ctx, m, deliveries, body, events...)
	if errors.Is(err, store.ErrTaken) {
		return nil
	}
	return err
}

type strictNotices struct{ store.Spool }

func (s strictNotices) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	list, err := s.Deliveries(ctx, store.Filter{Mail: m.ID}, store.Page{})
	if err == nil && len(list) > 0 && list[0].Mail != m {
		return store.ErrTaken
	}
	return s.Spool.Put(ctx, m, deliveries, body, events...)
}

type removesAll struct{ store.Spool }

func (s removesAll) Remove(ctx context.Context, n store.Node) error {
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, other := range nodes {
		if other.ID == n.ID {
			return s.Spool.Remove(ctx, other)
		}
	}
	return s.Spool.Remove(ctx, n)
}

type renames struct{ store.Spool }

func (s renames) Join(ctx context.Context, n store.Node) error {
	n.Name += " " + n.ID
	return s.Spool.Join(ctx, n)
}

func (s renames) Nodes(ctx context.Context) ([]store.Node, error) {
	nodes, err := s.Spool.Nodes(ctx)
	for i, n := range nodes {
		if n.Beat > 0 {
			nodes[i].Name = n.Name[:len(n.Name)-1-len(n.ID)]
		}
	}
	return nodes, err
}

type lastWins struct{ store.Spool }

func (s lastWins) Suspend(ctx context.Context, su store.Suspension) error {
	list, err := s.Suspensions(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(o store.Suspension) bool { return o.Tenant == su.Tenant && o.Destination == su.Destination })
	if i >= 0 {
		su.Version = list[i].Version
	}
	return s.Spool.Suspend(ctx, su)
}

type ownClock struct {
	store.Spool
	calls *int
}

func (s ownClock) Renew(ctx context.Context, node string) (time.Time, error) {
	now, err := s.Spool.Renew(ctx, node)
	*s.calls++
	return now.Add(-time.Duration(*s.calls) * time.Second), err
}

type forgetful struct{ store.Spool }

func (s forgetful) Nodes(ctx context.Context) ([]store.Node, error) {
	nodes, err := s.Spool.Nodes(ctx)
	return slices.DeleteFunc(nodes, func(n store.Node) bool { return n.Beat == 0 }), err
}
