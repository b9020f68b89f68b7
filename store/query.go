package store

import (
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store/internal/cursor"
)

// A Query selects one page of a tenant's domains or users. The zero Query selects the
// first 100 by name.
//
// A page begins at an entry and not at a number, so an entry that is added or deleted
// between two calls neither repeats nor skips another entry.
type Query struct {
	// If Search is not empty, the list has only entries that contain it: domains in
	// their SortName or Name, users in their SortName or Username. It is compared
	// byte by byte and has no wildcards. Package credentials folds it as it folds
	// SortName.
	Search string

	// Never selects entries without a LastConnection, ConnectedBefore those whose
	// LastConnection is before that time, or that have none. Its zero time does not
	// select. Suspended selects entries that are suspended themselves.
	Never           bool
	ConnectedBefore time.Time
	Suspended       bool

	// Order is the order of the list, and Descending reverses it.
	Order      Order
	Descending bool

	// After and Before are the Next and the Previous of another page of a list in
	// this order. With After the page begins behind that page, with Before it ends
	// ahead of that page. The entry at which that page ended need not exist any
	// more. Any other text selects some page of the list. After wins over Before.
	After, Before string

	Limit int // at most this many entries; zero or less means 100.
}

// An Order is an order of domains or users, see [Query].
type Order int

const (
	// ByName orders by SortName, and entries with the same SortName by Name
	// (domains) or Username (users), in byte order.
	ByName Order = iota

	// ByConnection orders by LastConnection. Entries without one are first. Entries
	// with the same LastConnection are ordered by Name or Username, in byte order.
	ByConnection
)

// Found is what a list says about itself beside the entries of one page.
type Found struct {
	Matching int // entries that the Query selects, on all pages.
	All      int // entries of the list without a selection.

	// Next and Previous are for [Query].After and [Query].Before. Next is empty if
	// no entry follows the page, Previous if none precedes it. If the page is empty,
	// both are.
	Next, Previous string
}

// Size returns the maximum number of entries of the page: Limit, or 100 if Limit
// is zero or less.
func (q Query) Size() int { return Page{Limit: q.Limit}.Size() }

// Domains applies q to all domains of a tenant. It is for adapters without an index,
// such as store/memory. It sorts all.
func (q Query) Domains(all []Domain) ([]Domain, Found) {
	return apply(q, all, func(d Domain) entry {
		return entry{d.SortName, d.Name, d.LastConnection, d.Suspended}
	})
}

// Users is [Query.Domains] for users.
func (q Query) Users(all []User) ([]User, Found) {
	return apply(q, all, func(u User) entry {
		return entry{u.SortName, u.Username, u.LastConnection, u.Suspended}
	})
}

// An entry is what a Query looks at.
type entry struct {
	sortName, key  string
	lastConnection time.Time
	suspended      string
}

func apply[E any](q Query, all []E, look func(E) entry) ([]E, Found) {
	found := Found{All: len(all)}
	place := func(e E) cursor.Cursor { return q.place(look(e)) }
	list := slices.DeleteFunc(slices.Clone(all), func(e E) bool { return !q.match(look(e)) })
	slices.SortFunc(list, func(a, b E) int { return q.compare(place(a), place(b)) })
	found.Matching = len(list)

	first, last := 0, min(q.Size(), len(list))
	if after, ok := cursor.Parse(q.After, q.Order == ByConnection); ok {
		first = len(list) - len(following(list, func(e E) bool { return q.compare(place(e), after) > 0 }))
		last = min(first+q.Size(), len(list))
	} else if before, ok := cursor.Parse(q.Before, q.Order == ByConnection); ok {
		last = len(list) - len(following(list, func(e E) bool { return q.compare(place(e), before) >= 0 }))
		first = max(last-q.Size(), 0)
	}
	if first < last && first > 0 {
		found.Previous = place(list[first]).String()
	}
	if first < last && last < len(list) {
		found.Next = place(list[last-1]).String()
	}
	return list[first:last], found
}

// following returns the end of a list from the first entry for which is returns true.
func following[E any](list []E, is func(E) bool) []E {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i:]
	}
	return nil
}

func (q Query) match(e entry) bool {
	return (strings.Contains(e.sortName, q.Search) || strings.Contains(e.key, q.Search)) &&
		(!q.Never || e.lastConnection.IsZero()) &&
		(q.ConnectedBefore.IsZero() || e.lastConnection.Before(q.ConnectedBefore)) &&
		(!q.Suspended || e.suspended != "")
}

func (q Query) place(e entry) cursor.Cursor {
	if q.Order == ByConnection {
		return cursor.Cursor{ByTime: true, At: e.lastConnection.UnixMicro(), Key: e.key}
	}
	return cursor.Cursor{Text: e.sortName, Key: e.key}
}

func (q Query) compare(a, b cursor.Cursor) int {
	if q.Descending {
		a, b = b, a
	}
	return cursor.Compare(a, b)
}
