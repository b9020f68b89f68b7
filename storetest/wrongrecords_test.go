package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gatepost-mail/gatepost/store"
)

// Ways to write the journal of a history wrongly.
func init() {
	wrongly("what Put is given is ignored", "Put/Records", "The events are recorded in the same step", func(b *bent) {
		b.put = func(ctx context.Context, m store.Mail, d []store.Delivery, body io.Reader, _ []store.Event) error {
			return b.Store.Put(ctx, m, d, body)
		}
	})
	wrongly("events are recorded after the Put", "Put/RecordsOnce", "A Put that changes nothing records none.", func(b *bent) {
		b.put = func(ctx context.Context, m store.Mail, d []store.Delivery, body io.Reader, events []store.Event) error {
			if err := b.Store.Put(ctx, m, d, body); err != nil {
				return err
			}
			return b.Store.Record(ctx, events)
		}
	})
	wrongly("events are recorded before the Put", "Put/FailsRecordsNothing", "only if the rest of the step was done", func(b *bent) {
		b.put = func(ctx context.Context, m store.Mail, d []store.Delivery, body io.Reader, events []store.Event) error {
			return errors.Join(b.Store.Record(ctx, events), b.Store.Put(ctx, m, d, body))
		}
	})
	wrongly("a record has only so much room", "Put/ManyRecipients", "whole ones", func(b *bent) {
		b.put = func(ctx context.Context, m store.Mail, d []store.Delivery, body io.Reader, events []store.Event) error {
			return b.Store.Put(ctx, m, d, body, events[:min(len(events), 10_000)]...)
		}
	})
	wrongly("outcomes record nothing", "Settle/Records", "is recorded in the same step if the outcome is not lost", func(b *bent) {
		b.settle = func(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
			outcomes = slices.Clone(outcomes)
			for i := range outcomes {
				outcomes[i].Event = store.Event{}
			}
			return b.Store.Settle(ctx, outcomes)
		}
	})
	wrongly("lost outcomes are recorded", "Settle/LostRecordsNothing", "if the outcome is not lost", func(b *bent) {
		b.settle = func(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
			lost, err := b.Store.Settle(ctx, outcomes)
			for _, o := range lost {
				b.Store.Record(ctx, []store.Event{o.Event})
			}
			return lost, err
		}
	})
	wrongly("outcomes are recorded one by one", "Settle/AllOrNone", "only if the rest of the step was done", func(b *bent) {
		b.settle = func(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
			return oneByOne{b.Store}.Settle(ctx, outcomes)
		}
	})
	wrongly("one event is enough", "Record/All", "all of them or, with an error, none", func(b *bent) {
		b.record = func(ctx context.Context, events []store.Event) error {
			return b.Store.Record(ctx, events[:min(len(events), 1)])
		}
	})
	wrongly("an event is kept that cannot be applied", "Record/WhatApplyTakes", "An adapter that could not apply an event refuses to keep it", func(b *bent) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			for i := range c.Activities {
				if !utf8.ValidString(c.Activities[i].Mail) {
					return errors.New("invalid byte sequence")
				}
			}
			return b.Store.Apply(ctx, records, c)
		}
	})
	wrongly("what servers say is made valid", "Record/AsGiven", "times and texts holds here too", func(b *bent) {
		b.record = func(ctx context.Context, events []store.Event) error {
			events = slices.Clone(events)
			for i := range events {
				events[i].Reason = strings.ToValidUTF8(events[i].Reason, "?")
			}
			return b.Store.Record(ctx, events)
		}
	})
	wrongly("events are named when they are read", "Records/IDs", "It is the same each time the event is read.", func(b *bent) {
		reads := new(atomic.Int64)
		onRecords(b, func(list []store.Record) []store.Record {
			for _, r := range list {
				for i := range r.Events {
					r.Events[i].ID = fmt.Sprintf("%d_%s", reads.Add(1), r.Events[i].ID)
				}
			}
			return list
		})
	})
	wrongly("the newest record comes first", "Records/OldestFirst", "Records returns the oldest records", func(b *bent) {
		onRecords(b, func(list []store.Record) []store.Record {
			slices.Reverse(list)
			return list
		})
	})
	wrongly("the limit cuts records", "Records/Whole", "whole ones", func(b *bent) {
		b.records = func(ctx context.Context, limit int) ([]store.Record, error) {
			list, err := b.Store.Records(ctx, limit)
			for i := range list {
				list[i].Events = list[i].Events[:max(1, min(len(list[i].Events), limit))]
			}
			return list, err
		}
	})
	wrongly("records are counted as mail", "Records/OfNoSpool", "Depth returns how much the spool holds.", func(b *bent) {
		b.depth = func(ctx context.Context) (store.Depth, error) {
			depth, err := b.Store.Depth(ctx)
			j, _ := b.Store.Journal(ctx)
			depth.Deliveries += j.Records
			return depth, err
		}
	})
	wrongly("no record is set aside", "SetAside/Record", "SetAside removes a record from Records", func(b *bent) {
		b.setAside = func(context.Context, string) error { return nil }
	})
	wrongly("what was set aside stays there", "Restore/Records", "Restore makes Records return the records that were set aside", func(b *bent) {
		b.restore = func(context.Context) (int, error) { return 0, nil }
	})
	wrongly("what was set aside is counted", "Journal/Counts", "Records that were set aside do not count.", func(b *bent) {
		aside := new(atomic.Int64)
		b.setAside = func(ctx context.Context, record string) error {
			aside.Add(1)
			return b.Store.SetAside(ctx, record)
		}
		b.journal = func(ctx context.Context) (store.Journal, error) {
			j, err := b.Store.Journal(ctx)
			j.Records += aside.Load()
			return j, err
		}
	})
	wrongly("a claim is for one call", "Claim/One", "Whoever has it keeps it by calling Claim again", func(b *bent) {
		calls := new(atomic.Int64)
		b.claim = func(ctx context.Context, work, who string, now, until time.Time) (bool, error) {
			return b.Store.Claim(ctx, work, fmt.Sprint(who, calls.Add(1)), now, until)
		}
	})
	wrongly("a claim is looked at, then made", "Claim/Race", "it returns false if somebody else has it", func(b *bent) {
		var held sync.Map
		b.claim = func(_ context.Context, work, who string, now, until time.Time) (bool, error) {
			if last, ok := held.Load(work); ok && last.(time.Time).After(now) {
				return false, nil
			}
			time.Sleep(time.Millisecond)
			held.Store(work, until)
			return true, nil
		}
	})
	wrongly("a journal of its own for each process", "Handles/History", "it may be shared by any number of processes", func(b *bent) { b.opensNew = true })
	wrongly("the context is ignored", "Context/HistoryEnded", "A context that has already ended makes a method fail", func(b *bent) {
		b.apply = func(ctx context.Context, records []string, c store.Changes) error {
			return b.Store.Apply(context.WithoutCancel(ctx), records, c)
		}
	})
}

// onRecords makes a mistake in what Records returns.
func onRecords(b *bent, change func([]store.Record) []store.Record) {
	b.records = func(ctx context.Context, limit int) ([]store.Record, error) {
		list, err := b.Store.Records(ctx, limit)
		return change(list), err
	}
}
