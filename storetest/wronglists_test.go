package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/gatepost-mail/gatepost/store"
)

func init() {
	for name, m := range map[string]mistake{
		"an unknown domain has no users": {
			make:  func(s store.Store) store.Store { return emptyList{s} },
			name:  "Users/NotFound",
			words: "A domain without users is an empty list.",
		},
		"a page without a limit has all entries": {
			make:  func(s store.Store) store.Store { return unlimited{s} },
			name:  "List/AThousandUsers",
			words: "at most this many entries; zero or less means 100",
		},
		"pages are numbered": {
			make:  func(s store.Store) store.Store { return numbered{s, new(sync.Map)} },
			name:  "List/ChangesMeanwhile",
			words: "an entry that is added or deleted between two calls neither repeats nor skips another entry",
		},
		"a page begins anew after an entry that was deleted": {
			make:  func(s store.Store) store.Store { return startsAnew{s, new(sync.Map)} },
			name:  "List/ChangesMeanwhile",
			words: "The entry at which that page ended need not exist any more.",
		},
		"lists are sorted without regard to case": {
			make:  func(s store.Store) store.Store { return collated{s} },
			name:  "List/ByName",
			words: "in byte order",
		},
		"lists are sorted by Name": {
			make:  func(s store.Store) store.Store { return unsorted{s} },
			name:  "List/Renamed",
			words: "ByName orders by SortName",
		},
		"a rename keeps the SortName": {
			make:  func(s store.Store) store.Store { return keepsSortName{s} },
			name:  "RenameUser/NameOnly",
			words: "RenameUser changes the user's Name and SortName and nothing else.",
		},
		"sort names are overwritten": {
			make:  func(s store.Store) store.Store { return sortsAgain{s} },
			name:  "SetSortNames/Missing",
			words: "It leaves out users that have a SortName",
		},
		"users who never connected are last": {
			make:  func(s store.Store) store.Store { return neverLast{s} },
			name:  "List/ByConnection",
			words: "Entries without one are first.",
		},
		"entries are reversed only by their first key": {
			make:  func(s store.Store) store.Store { return halfReversed{s} },
			name:  "List/ByConnection",
			words: "Descending reverses it.",
		},
		"there is no way back": {
			make:  func(s store.Store) store.Store { return forward{s} },
			name:  "List/BothWays",
			words: "Previous if none precedes it.",
		},
		"the last page has a next one": {
			make:  func(s store.Store) store.Store { return endless{s} },
			name:  "List/BothWays",
			words: "Next is empty if no entry follows the page",
		},
		"an unknown cursor is an error": {
			make:  func(s store.Store) store.Store { return strict{s} },
			name:  "List/OtherText",
			words: "Any other text selects some page of the list.",
		},
		"a search is a pattern": {
			make:  func(s store.Store) store.Store { return pattern{s} },
			name:  "List/Search",
			words: "has no wildcards.",
		},
		"a search ignores case": {
			make:  func(s store.Store) store.Store { return caseless{s} },
			name:  "List/Search",
			words: "It is compared byte by byte",
		},
		"a user of a suspended domain is listed as suspended": {
			make:  func(s store.Store) store.Store { return suspendsAll{s} },
			name:  "List/Filters",
			words: "Suspended selects entries that are suspended themselves.",
		},
		"users who never connected have connected before nothing": {
			make:  func(s store.Store) store.Store { return connectedOnly{s} },
			name:  "List/Filters",
			words: "or that have none.",
		},
		"the count is that of the page": {
			make:  func(s store.Store) store.Store { return countsPage{s} },
			name:  "List/BothWays",
			words: "the promise",
		},
		"all entries are those that match": {
			make:  func(s store.Store) store.Store { return countsMatches{s} },
			name:  "List/Counts",
			words: "entries of the list without a selection",
		},
		"no domain is no filter": {
			make:  func(s store.Store) store.Store { return needsDomain{s} },
			name:  "Users/OfTheDomain",
			words: "or of all its domains if domain is empty.",
		},
	} {
		mistakes[name] = m
	}
}

type emptyList struct{ store.Store }

func (s emptyList) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	list, found, err := s.Store.Users(ctx, tenant, domain, q)
	if errors.Is(err, store.ErrNotFound) {
		return nil, store.Found{}, nil
	}
	return list, found, err
}

type unlimited struct{ store.Store }

func (s unlimited) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	if q.Limit == 0 {
		q.Limit = 1 << 30
	}
	return s.Store.Users(ctx, tenant, domain, q)
}

// numbered keeps the position in the list at which each page ended.
type numbered struct {
	store.Store
	ends *sync.Map
}

func (s numbered) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	start := 0
	if end, ok := s.ends.Load(q.After); ok {
		start = end.(int)
	}
	size := q.Size()
	q.After, q.Limit = "", 1<<30
	list, found, err := s.Store.Users(ctx, tenant, domain, q)
	if start = min(start, len(list)); start+size < len(list) {
		found.Next = list[start+size].Username
		s.ends.Store(found.Next, start+size)
	}
	return list[start:][:min(size, len(list)-start)], found, err
}

// startsAnew looks for the entry at which a page ended.
type startsAnew struct {
	store.Store
	ends *sync.Map
}

func (s startsAnew) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	if end, ok := s.ends.Load(q.After); ok {
		if _, err := s.Store.User(ctx, tenant, end.(string)); err != nil {
			q.After = ""
		}
	}
	list, found, err := s.Store.Users(ctx, tenant, domain, q)
	if len(list) > 0 {
		s.ends.Store(found.Next, list[len(list)-1].Username)
	}
	return list, found, err
}

type collated struct{ store.Store }

func (s collated) Domains(ctx context.Context, tenant store.TenantID, q store.Query) ([]store.Domain, store.Found, error) {
	list, found, err := s.Store.Domains(ctx, tenant, q)
	slices.SortStableFunc(list, func(a, b store.Domain) int {
		return cmp.Compare(strings.ToLower(a.SortName), strings.ToLower(b.SortName))
	})
	return list, found, err
}

type unsorted struct{ store.Store }

func (s unsorted) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	list, found, err := s.Store.Users(ctx, tenant, domain, q)
	slices.SortStableFunc(list, func(a, b store.User) int { return cmp.Compare(a.Name, b.Name) })
	return list, found, err
}

type keepsSortName struct{ store.Store }

func (s keepsSortName) RenameUser(ctx context.Context, tenant store.TenantID, username, name, _ string) error {
	u, err := s.User(ctx, tenant, username)
	if err != nil {
		return err
	}
	return s.Store.RenameUser(ctx, tenant, username, name, u.SortName)
}

type neverLast struct{ store.Store }

func (s neverLast) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	list, found, err := s.Store.Users(ctx, tenant, domain, q)
	if q.Order == store.ByConnection {
		slices.SortStableFunc(list, func(a, b store.User) int {
			if a.LastConnection.IsZero() == b.LastConnection.IsZero() {
				return 0
			}
			return -a.LastConnection.Compare(b.LastConnection)
		})
	}
	return list, found, err
}

type halfReversed struct{ store.Store }

func (s halfReversed) Domains(ctx context.Context, tenant store.TenantID, q store.Query) ([]store.Domain, store.Found, error) {
	list, found, err := s.Store.Domains(ctx, tenant, q)
	if q.Order == store.ByConnection && q.Descending {
		slices.SortStableFunc(list, func(a, b store.Domain) int {
			return cmp.Or(b.LastConnection.Compare(a.LastConnection), strings.Compare(a.Name, b.Name))
		})
	}
	return list, found, err
}

type forward struct{ store.Store }

func (s forward) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	list, found, err := s.Store.Users(ctx, tenant, domain, q)
	found.Previous = ""
	return list, found, err
}

type endless struct{ store.Store }

func (s endless) Domains(ctx context.Context, tenant store.TenantID, q store.Query) ([]store.Domain, store.Found, error) {
	list, found, err := s.Store.Domains(ctx, tenant, q)
	found.Next = cmp.Or(found.Next, "more")
	return list, found, err
}

type strict struct{ store.Store }

func (s strict) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	if q.After != "" && len(q.After) < 8 {
		return nil, store.Found{}, errors.New("unknown cursor")
	}
	return s.Store.Users(ctx, tenant, domain, q)
}

// pattern searches as SQL's LIKE does.
type pattern struct{ store.Store }

func (s pattern) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	like := strings.NewReplacer("%", ".*", "_", ".").Replace(regexp.QuoteMeta(q.Search))
	return matching(s.Store, ctx, tenant, domain, q, regexp.MustCompile(like))
}

func matching(s store.Store, ctx context.Context, tenant store.TenantID, domain string, q store.Query, re *regexp.Regexp) ([]store.User, store.Found, error) {
	q.Search = ""
	list, found, err := s.Users(ctx, tenant, domain, q)
	list = slices.DeleteFunc(list, func(u store.User) bool { return !re.MatchString(u.SortName + "\x00" + u.Username) })
	return list, found, err
}

type caseless struct{ store.Store }

func (s caseless) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	return matching(s.Store, ctx, tenant, domain, q, regexp.MustCompile("(?i)"+regexp.QuoteMeta(q.Search)))
}

type suspendsAll struct{ store.Store }

func (s suspendsAll) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	if d, err := s.Domain(ctx, tenant, domain); err == nil && d.Suspended != "" {
		q.Suspended = false
	}
	return s.Store.Users(ctx, tenant, domain, q)
}

type connectedOnly struct{ store.Store }

func (s connectedOnly) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	list, found, err := s.Store.Users(ctx, tenant, domain, q)
	if !q.ConnectedBefore.IsZero() {
		list = slices.DeleteFunc(list, func(u store.User) bool { return u.LastConnection.IsZero() })
	}
	return list, found, err
}

type countsPage struct{ store.Store }

func (s countsPage) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	list, found, err := s.Store.Users(ctx, tenant, domain, q)
	found.Matching = len(list)
	return list, found, err
}

type countsMatches struct{ store.Store }

func (s countsMatches) Domains(ctx context.Context, tenant store.TenantID, q store.Query) ([]store.Domain, store.Found, error) {
	list, found, err := s.Store.Domains(ctx, tenant, q)
	found.All = found.Matching
	return list, found, err
}

type needsDomain struct{ store.Store }

func (s needsDomain) Users(ctx context.Context, tenant store.TenantID, domain string, q store.Query) ([]store.User, store.Found, error) {
	if domain == "" {
		return nil, store.Found{}, store.ErrNotFound
	}
	return s.Store.Users(ctx, tenant, domain, q)
}
