package history

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

// This file keeps trails short. Of the retries of a recipient the first and the newest
// are kept, and a mark says how many were left out. The first and the newest of all
// retries are also the first and the newest of any set that includes them. So the same
// are shown in the end, in whatever order retries were applied and trails shortened.

const (
	firstRetries  = 50
	newestRetries = 50
)

// trailMark is the first byte of a mark, where an event has trailVersion. The number of
// events that were left out follows as a varint. Versions that do not know marks skip
// them.
const trailMark = 2

// isRetry reports whether a recipient may have any number of events of a kind.
func isRetry(k store.EventKind) bool { return phase(k) == phaseWait }

// shortens reports whether the trail of an event's recipient may have become too long:
// on each 50th attempt, and whenever it waits without one, which is rare.
func shortens(e *store.Event) bool {
	return e.Kind == store.EventWaiting || isRetry(e.Kind) && e.Attempt > firstRetries+newestRetries && e.Attempt%50 == 0
}

// An entry is a part of a trail.
type entry struct {
	raw     string      // its bytes, with the length
	event   store.Event // has no Kind if this version cannot read it
	leftOut int         // of a mark
}

func entriesOf(trail string) (list []entry) {
	for rest := (reader{b: []byte(trail)}); len(rest.b) > 0; {
		begin := len(trail) - len(rest.b)
		one := reader{b: []byte(rest.text())}
		if rest.bad {
			break
		}
		e := entry{raw: trail[begin : len(trail)-len(rest.b)]}
		if len(one.b) > 0 && one.b[0] == trailMark {
			one.b = one.b[1:]
			e.leftOut = int(min(one.uvarint(), 1<<30))
		} else if event, ok := one.event(); ok {
			e.event = event
		}
		list = append(list, e)
	}
	return list
}

// shortened returns the entries that are kept, except marks, and how many events are
// left out.
func shortened(list []entry) (kept []entry, leftOut int) {
	var retries []int
	for i := range list {
		leftOut = min(leftOut+list[i].leftOut, 1<<30)
		if isRetry(list[i].event.Kind) {
			retries = append(retries, i)
		}
	}
	slices.SortStableFunc(retries, func(i, j int) int {
		a, b := &list[i].event, &list[j].event
		return cmp.Or(happened(a, b), strings.Compare(a.ID, b.ID))
	})
	drop := make(map[int]bool)
	if n := len(retries); n > firstRetries+newestRetries {
		for _, i := range retries[firstRetries : n-newestRetries] {
			drop[i] = true
		}
	}
	for i := range list {
		if !drop[i] && list[i].leftOut == 0 {
			kept = append(kept, list[i])
		}
	}
	return kept, leftOut + len(drop)
}

// shorten returns a trail with a mark in place of what is left out. It returns the same
// trail if that is nothing.
func shorten(trail string) string {
	list := entriesOf(trail)
	kept, leftOut := shortened(list)
	if len(kept) >= len(list)-1 { // nothing, or only the mark
		return trail
	}
	var b []byte
	for _, e := range kept {
		b = append(b, e.raw...)
	}
	mark := binary.AppendUvarint([]byte{trailMark}, uint64(leftOut))
	return string(appendEntry(b, mark))
}
