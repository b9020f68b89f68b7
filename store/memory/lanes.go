package memory

import (
	"container/heap"
	"iter"
	"maps"
	"slices"
	"time"
)

// place puts the delivery where it belongs: among those of its node, the held
// ones, those with so many Deaths, or into its lane.
func (s *spool) place(d *delivery) {
	switch {
	case d.Node != "":
		add(s.leased, d.Node, d)
	case d.Held:
		s.held++
	case d.Deaths > 0:
		add(s.deaths, d.Deaths, d)
	default:
		l := s.lanes[d.lane]
		if l == nil {
			l = new(lane)
			s.lanes[d.lane] = l
		}
		heap.Push(l, d)
	}
}

// displace undoes place. It must be called before the delivery is changed.
func (s *spool) displace(d *delivery) {
	switch {
	case d.Node != "":
		drop(s.leased, d.Node, d)
	case d.Held:
		s.held--
	case d.Deaths > 0:
		drop(s.deaths, d.Deaths, d)
	default:
		l := s.lanes[d.lane]
		if heap.Remove(l, d.at); len(*l) == 0 {
			delete(s.lanes, d.lane)
		}
	}
}

func add[K comparable](sets map[K]set, key K, d *delivery) {
	if sets[key] == nil {
		sets[key] = make(set)
	}
	sets[key][d] = true
}

func drop[K comparable](sets map[K]set, key K, d *delivery) {
	if delete(sets[key], d); len(sets[key]) == 0 {
		delete(sets, key)
	}
}

func keys(s set) iter.Seq[*delivery] { return maps.Keys(s) }

// A lane is the waiting deliveries of one tenant to one destination. The one
// that is due first is on top. It implements [heap.Interface].
type lane []*delivery

// first returns up to limit deliveries that are due at now, in order. It leaves
// the lane as it is.
func (l *lane) first(now time.Time, limit int) (list []*delivery) {
	for len(list) < limit && len(*l) > 0 && !(*l)[0].Next.After(now) {
		list = append(list, heap.Pop(l).(*delivery))
	}
	for _, d := range slices.Clone(list) {
		heap.Push(l, d)
	}
	return list
}

func (l lane) Len() int           { return len(l) }
func (l lane) Less(i, j int) bool { return compare(l[i], l[j]) < 0 }

func (l lane) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].at, l[j].at = i, j
}

func (l *lane) Push(d any) {
	d.(*delivery).at = len(*l)
	*l = append(*l, d.(*delivery))
}

func (l *lane) Pop() any {
	last := len(*l) - 1
	d := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return d
}
