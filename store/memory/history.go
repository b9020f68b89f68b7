package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

// Activities implements [store.History].
func (s *Store) Activities(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (page store.ActivityPage, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return page, err
	}
	defer s.spool.mu.Unlock()
	if err := spools.CheckForms(&f); err != nil {
		return page, fmt.Errorf("memory: list activities: %w", err)
	}
	var after *store.Activity
	if f.After != "" {
		after = new(store.Activity)
		if *after, err = parsePlace(f.After); err != nil {
			return page, err
		}
	}
	for _, a := range s.spool.history.activities {
		if a.Tenant == tenant && f.Match(&a) && (after == nil || newestFirst(*after, a) < 0) {
			a.Trail = ""
			page.List = append(page.List, a)
		}
	}
	slices.SortFunc(page.List, newestFirst)
	if size := (store.Page{Limit: f.Limit}).Size(); len(page.List) > size {
		page.List = page.List[:size]
		page.Next = place(page.List[size-1])
	}
	return page, nil
}

func newestFirst(a, b store.Activity) int {
	return cmp.Or(b.Received.Compare(a.Received), strings.Compare(b.Mail, a.Mail), cmp.Compare(b.N, a.N))
}

// place says where in a list an activity is.
func place(a store.Activity) string {
	return fmt.Sprintf("%d %d %s", a.Received.UnixMicro(), a.N, a.Mail)
}

func parsePlace(s string) (a store.Activity, err error) {
	var received int64
	parts := strings.SplitN(s, " ", 3)
	if _, err := fmt.Sscanf(s, "%d %d", &received, &a.N); err != nil || len(parts) < 3 {
		return a, fmt.Errorf("memory: list activities: %q is not the Next of a page", s)
	}
	a.Received, a.Mail = time.UnixMicro(received).UTC(), parts[2]
	return a, nil
}

// Recipients implements [store.History].
func (s *Store) Recipients(ctx context.Context, tenant store.TenantID, mail string, f store.RecipientFilter) (list []store.Activity, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	for key, a := range s.spool.history.activities {
		if key.Tenant == tenant && key.Mail == mail && a.N >= f.From && (a.Erased || !f.Erased) && (len(f.States) == 0 || slices.Contains(f.States, a.State)) {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b store.Activity) int { return cmp.Compare(a.N, b.N) })
	return list[:min(len(list), f.Size())], nil
}

// RecipientStates implements [store.History].
func (s *Store) RecipientStates(ctx context.Context, tenant store.TenantID, mail string) (map[store.ActivityState]int, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	states := make(map[store.ActivityState]int)
	for key, a := range s.spool.history.activities {
		if key.Tenant == tenant && key.Mail == mail {
			states[a.State]++
		}
	}
	return states, nil
}

// TenantOf implements [store.History].
func (s *Store) TenantOf(ctx context.Context, mail string) (store.TenantID, error) {
	if err := s.spool.lock(ctx); err != nil {
		return "", err
	}
	defer s.spool.mu.Unlock()
	for key := range s.spool.history.activities {
		if key.Mail == mail {
			return key.Tenant, nil
		}
	}
	return "", store.ErrNotFound
}

// ActivitiesByKey implements [store.History].
func (s *Store) ActivitiesByKey(ctx context.Context, keys []store.ActivityKey) (list []store.Activity, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	for _, key := range keys {
		if a, ok := s.spool.history.activities[key]; ok {
			list = append(list, a)
		}
	}
	return list, nil
}

// Counts implements [store.History].
func (s *Store) Counts(ctx context.Context, tenant store.TenantID, f store.CountFilter) ([]store.Count, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	sums := make(map[countKey]store.Count)
	for _, c := range s.spool.history.counts {
		if c.Tenant != tenant || c.Hour.Before(f.From) || !f.Until.IsZero() && !c.Hour.Before(f.Until) ||
			f.Domain != "" && f.Domain != c.Domain || f.Username != "" && f.Username != c.Username {
			continue
		}
		if f.By != store.ByHour {
			c.Hour = time.Time{}
		}
		if f.By != store.ByDomain && f.By != store.ByUser {
			c.Domain = ""
		}
		if f.By != store.ByUser {
			c.Username = ""
		}
		key := countKey{tenant, c.Hour.UnixMicro(), c.Domain, c.Username}
		if sum, ok := sums[key]; ok {
			c.Add(sum)
		}
		sums[key] = c
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b store.Count) int {
		return cmp.Or(a.Hour.Compare(b.Hour), strings.Compare(a.Domain, b.Domain), strings.Compare(a.Username, b.Username))
	}), nil
}

// Expire implements [store.History].
func (s *Store) Expire(ctx context.Context, activities, counts time.Time, limit int) (removed int, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return 0, err
	}
	defer s.spool.mu.Unlock()
	h := &s.spool.history
	day := activities.Truncate(24 * time.Hour)
	left := limit
	maps.DeleteFunc(h.activities, func(_ store.ActivityKey, a store.Activity) bool {
		if !a.Received.Before(day) || left <= 0 {
			return false
		}
		left--
		return true
	})
	removed = limit - left
	left = limit
	maps.DeleteFunc(h.counts, func(_ countKey, c store.Count) bool {
		if !c.Hour.Before(counts) || left <= 0 {
			return false
		}
		left--
		return true
	})
	return removed + limit - left, nil
}

// Erase implements [store.History].
func (s *Store) Erase(ctx context.Context, tenant store.TenantID, recipient string) (erased int, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return 0, err
	}
	defer s.spool.mu.Unlock()
	f := store.ActivityFilter{Recipient: recipient}
	for key, a := range s.spool.history.activities {
		if recipient != "" && key.Tenant == tenant && f.Match(&a) {
			erase(&a)
			s.spool.history.activities[key] = a
			erased++
		}
	}
	return erased, nil
}
