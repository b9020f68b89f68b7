package queue

import "hash/maphash"

// recentMails is how many mails a recentSet remembers at least; twice as many at most.
const recentMails = 10_000

// A recentSet remembers the IDs of the mails that were added last. It keeps their hashes,
// which the garbage collector does not have to look at, so has may be true of another ID,
// which is very rare.
//
// A recentSet is not safe for concurrent use. The zero recentSet remembers nothing.
type recentSet struct {
	seed        maphash.Seed
	now, before map[uint64]struct{} // before has recentMails
}

func (r *recentSet) add(id string) {
	switch {
	case r.now == nil:
		r.seed, r.now = maphash.MakeSeed(), make(map[uint64]struct{}, recentMails)
	case len(r.now) >= recentMails:
		r.before, r.now = r.now, make(map[uint64]struct{}, recentMails)
	}
	r.now[maphash.String(r.seed, id)] = struct{}{}
}

func (r *recentSet) has(id string) bool {
	if r.now == nil {
		return false
	}
	hash := maphash.String(r.seed, id)
	_, now := r.now[hash]
	_, before := r.before[hash]
	return now || before
}
