package memory

import (
	"container/heap"
	"time"
)

// place puts the delivery where it belongs: among those of its node, the held
// ones, those with so many Deaths, or into its lane.
func (s *spool) place(d *delivery) {
	switch {
	case d.Node != "":
		add(s.leased, d.Node, d, struct{}{})
	case d.Held:
		s.held++
	case d.Deaths > 0:
		add(s.deaths, d.Deaths, d, struct{}{})
	default:
		l := s.lanes[d.lane.Destination][d.lane.Tenant]
		if l == nil {
			l = new(lane)
			add(s.lanes, d.lane.Destination, d.lane.Tenant, l)
		}
		heap.Push(l, d)
		s.index.Set(d.lane, (*l)[0].Next)
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
		l := s.lanes[d.lane.Destination][d.lane.Tenant]
		if heap.Remove(l, d.at); len(*l) > 0 {
			s.index.Set(d.lane, (*l)[0].Next)
			break
		}
		drop(s.lanes, d.lane.Destination, d.lane.Tenant)
		s.index.Delete(d.lane)
	}
}

func add[K, L comparable, V any](maps map[K]map[L]V, key K, inner L, v V) {
	if maps[key] == nil {
		maps[key] = make(map[L]V)
	}
	maps[key][inner] = v
}

func drop[K, L comparable, V any](maps map[K]map[L]V, key K, inner L) {
	if delete(maps[key], inner); len(maps[key]) == 0 {
		delete(maps, key)
	}
}

// A lane is the waiting deliveries of one tenant to one destination. The one
// that is due first is on top. It implements [heap.Interface].
type lane []*delivery

// isDue reports whether a delivery is due at now.
func (l *lane) isDue(now time.Time) bool { return len(*l) > 0 && !(*l)[0].Next.After(now) }

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
