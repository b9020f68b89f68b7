package sqlstore

import (
	"context"
	"errors"
	"fmt"
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

// Who gives up while waiting is left out, and its error is its context's.
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

// Whoever gives up at the moment it is made the leader passes that on.
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

// A run goes on while anybody in it has the patience, and one with a limit until that.
func TestGroupContext(t *testing.T) {
	for name, c := range map[string]struct {
		gaveUp int
		limit  time.Duration
		wait   time.Duration
		ended  bool
	}{
		"some":         {2, 0, 0, false},
		"all":          {3, 0, 0, true},
		"within limit": {3, time.Minute, time.Second, false},
		"beyond limit": {0, time.Minute, time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slow{goOn: make(chan bool)}
				s.group.limit = c.limit
				go s.do(t.Context(), "first")
				synctest.Wait()
				var cancels []context.CancelFunc
				for i := range 3 {
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
				synctest.Wait()
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
