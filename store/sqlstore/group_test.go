package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A slow is a run that waits until it is told to go on.
type slow struct {
	group group
	goOn  chan bool
	runs  [][]string // the mails of the operations of each run
	ended []bool     // whether each run's context had ended
}

func (s *slow) do(ctx context.Context, name string) error {
	return s.group.do(ctx, &operation{mail: name}, func(ctx context.Context, ops []*operation) {
		var names []string
		for _, op := range ops {
			names = append(names, op.mail)
			op.err = errors.New(op.mail)
		}
		<-s.goOn
		s.runs, s.ended = append(s.runs, names), append(s.ended, ctx.Err() != nil)
	})
}

// Each caller gets its own result, and all who waited share one run.
func TestGroupShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{goOn: make(chan bool)}
		for i := range 6 {
			go func() {
				if name := fmt.Sprint(i); s.do(t.Context(), name).Error() != name {
					t.Errorf("%s got somebody else's error", name)
				}
			}()
			synctest.Wait()
		}
		s.goOn <- true
		s.goOn <- true
		synctest.Wait()
		if got, want := fmt.Sprint(s.runs), "[[0] [1 2 3 4 5]]"; got != want {
			t.Errorf("got runs %s, want %s", got, want)
		}
		go s.do(t.Context(), "again")
		s.goOn <- true
	})
}

// A caller that gives up while it waits is left out, and its error is its context's.
func TestGroupLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{goOn: make(chan bool)}
		ctx, cancel := context.WithCancel(t.Context())
		go s.do(t.Context(), "leader")
		synctest.Wait()
		go func() {
			if err := s.do(ctx, "hasty"); !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want %v", err, context.Canceled)
			}
		}()
		synctest.Wait()
		go s.do(t.Context(), "patient")
		synctest.Wait()
		cancel()
		synctest.Wait()
		s.goOn <- true
		s.goOn <- true
		synctest.Wait()
		if got, want := fmt.Sprint(s.runs), "[[leader] [patient]]"; got != want {
			t.Errorf("got runs %s, want %s", got, want)
		}
		if err := s.do(ctx, "late"); !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: got error %v", err)
		}
	})
}

// A caller that gives up at the moment it is made the leader passes that on.
func TestGroupLeaderLeaves(t *testing.T) {
	var g group
	g.busy = true
	first, second := &member{turn: make(chan bool, 1)}, &member{turn: make(chan bool, 1)}
	g.enter(first)
	g.enter(second)
	g.next()
	g.leave(first)
	if len(second.turn) != 1 || !<-second.turn {
		t.Fatal("nobody leads")
	}
	g.leave(second)
	if g.busy {
		t.Error("a group that all have left is busy")
	}
}

// A run for several goes on whoever gives up, and one for a single caller ends
// with its context; neither goes on for ever.
func TestGroupContext(t *testing.T) {
	for name, c := range map[string]struct {
		callers int
		gaveUp  int
		wait    time.Duration
		ended   bool
	}{
		"some have given up":   {3, 2, time.Second, false},
		"all have given up":    {3, 3, time.Second, false},
		"the only one has":     {1, 1, time.Second, true},
		"the only one has not": {1, 0, time.Second, false},
		"time is up":           {3, 0, time.Hour, true},
		"time is up for one":   {1, 0, time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slow{goOn: make(chan bool)}
				go s.do(t.Context(), "first")
				synctest.Wait()
				var cancels []context.CancelFunc
				for i := range c.callers {
					ctx, cancel := context.WithCancel(t.Context())
					cancels = append(cancels, cancel)
					go s.do(ctx, fmt.Sprint(i))
					synctest.Wait()
				}
				s.goOn <- true
				synctest.Wait()
				for _, cancel := range cancels[:c.gaveUp] {
					cancel()
				}
				time.Sleep(c.wait)
				s.goOn <- true
				synctest.Wait()
				for _, cancel := range cancels {
					cancel()
				}
				if s.ended[1] != c.ended {
					t.Errorf("the context of the run had ended: %t, want %t", s.ended[1], c.ended)
				}
			})
		})
	}
}

// If the driver panics, and a server recovers that, no caller is told of success
// and others go on.
func TestGroupPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		enter := make(chan bool)
		run := func(_ context.Context, ops []*operation) {
			<-enter
			if len(ops) > 1 {
				ops[1].err = errors.New("known")
				panic("driver")
			}
		}
		errs := make(map[string]error)
		var mu sync.Mutex
		do := func(name string) {
			defer func() { recover() }()
			err := g.do(t.Context(), &operation{mail: name}, run)
			mu.Lock()
			defer mu.Unlock()
			errs[name] = err
		}
		for _, name := range []string{"first", "panics", "known", "unknown"} {
			go do(name)
			synctest.Wait()
		}
		enter <- true
		enter <- true
		synctest.Wait()
		go do("after")
		enter <- true
		synctest.Wait()
		if len(errs) != 4 || errs["first"] != nil || errs["after"] != nil || errs["known"] == nil || !errors.Is(errs["unknown"], errUnfinished) {
			t.Errorf("the callers were told %v", errs)
		}
	})
}
