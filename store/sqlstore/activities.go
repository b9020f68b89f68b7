package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

// maxLooked is how many activities one call of Activities looks at.
const maxLooked = 3000

// One query looks through so many days for a recipient, and for so many forms of it.
const (
	daysAtOnce  = 32
	formsAtOnce = 3
)

// A place is where a list of activities goes on: those before it are newer.
type place struct{ received, id int64 }

// start is the place before all activities.
var start = place{math.MaxInt64, math.MaxInt64}

func (p place) String() string { return fmt.Sprintf("%d.%d", p.received, p.id) }

func parsePlace(s string) (p place, err error) {
	if s == "" {
		return start, nil
	}
	if _, err := fmt.Sscanf(s, "%d.%d", &p.received, &p.id); err != nil || p.String() != s {
		return p, fmt.Errorf("%q is not the Next of a page", s)
	}
	return p, nil
}

// Activities implements [store.History]. Without a Recipient it looks at activities
// in the order of Received, and ends a page when it has looked at 3,000. With one
// it looks at each day's activities of the recipient.
func (s *Store) Activities(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error) {
	page, err := s.activities(ctx, tenant, f)
	if err != nil {
		return store.ActivityPage{}, failed("list activities", err)
	}
	return page, nil
}

func (s *Store) activities(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (page store.ActivityPage, err error) {
	if err := cmp.Or(ctx.Err(), spools.CheckForms(&f)); err != nil || !isText(string(tenant)) {
		return page, err
	}
	at, err := parsePlace(f.After)
	if err != nil {
		return page, err
	}
	size := store.Page{Limit: f.Limit}.Size()
	var last place // of the last in the page
	keep := func(a store.Activity, p place) {
		if !f.Match(&a) {
			return
		}
		if len(page.List) == size {
			page.Next = last.String()
			return
		}
		page.List, last = append(page.List, a), p
	}
	next := s.lookThrough
	if f.Recipient != "" {
		next = s.lookForRecipient
	}
	for looked := 0; page.Next == ""; {
		var n int
		n, at, err = next(ctx, tenant, &f, at, size+1, keep)
		if looked += n; err != nil || at == end {
			return page, err
		}
		if looked >= maxLooked && page.Next == "" {
			page.Next = at.String()
		}
	}
	return page, nil
}

// end is the place behind all activities.
var end = place{math.MinInt64, math.MinInt64}

// where adds the conditions that the database can check.
func where(f *store.ActivityFilter, args []any) (string, []any) {
	var b strings.Builder
	if f.Domain != "" {
		b.WriteString(` AND domain = ?`)
		args = append(args, []byte(f.Domain))
	}
	if f.Username != "" {
		b.WriteString(` AND username = ?`)
		args = append(args, []byte(f.Username))
	}
	if len(f.States) > 0 {
		b.WriteString(` AND state IN (` + strings.TrimSuffix(strings.Repeat("?, ", len(f.States)), ", ") + `)`)
		for _, state := range f.States {
			args = append(args, int64(state))
		}
	}
	return b.String(), args
}

// bounds returns the least and, at a place, the greatest Received that are asked for.
func bounds(f *store.ActivityFilter, at place) (from int64, until place) {
	from = math.MinInt64
	if !f.From.IsZero() {
		from = f.From.UnixMicro()
	}
	if u := f.Until.UnixMicro() - 1; !f.Until.IsZero() && u < at.received {
		at = place{u, math.MaxInt64}
	}
	return from, at
}

// lookThrough looks at the next activities of a tenant, calls keep with those that
// match as far as the database can tell, and returns how many it looked at and where
// they end.
func (s *Store) lookThrough(ctx context.Context, tenant store.TenantID, f *store.ActivityFilter, at place, limit int,
	keep func(store.Activity, place)) (looked int, next place, err error) {
	from, at := bounds(f, at)
	const inOrder = ` FROM {activities} WHERE tenant = ? AND received >= ? AND received <= ? AND (received < ? OR id < ?)`
	args := []any{string(tenant), from, at.received, at.received, at.id}
	bound, and := end, ""
	conditions, more := where(f, nil)
	if conditions != "" { // only so many of them are looked at
		err := s.query(ctx, `SELECT received, id`+inOrder+` ORDER BY received DESC, id DESC LIMIT 1 OFFSET ?`, append(slices.Clone(args), maxLooked-1),
			func(rows *sql.Rows) error { return rows.Scan(&bound.received, &bound.id) })
		if err != nil {
			return 0, end, err
		}
		and = conditions + ` AND (received > ? OR received = ? AND id >= ?)`
		args[1] = max(from, bound.received) // SQLite uses one lower bound only
		args = append(append(args, more...), bound.received, bound.received, bound.id)
	}
	limit = max(limit, scanned(f))
	n, last := 0, end
	err = s.query(ctx, `SELECT id, `+activityColumns+inOrder+and+` ORDER BY received DESC, id DESC LIMIT ?`, append(args, limit),
		func(rows *sql.Rows) error {
			a, id, err := scanActivity(rows)
			n, last = n+1, place{a.Received.UnixMicro(), id}
			keep(a, last)
			return err
		})
	if n == limit {
		return n, last, err
	}
	return maxLooked, bound, err // which is the end if there were fewer
}

// scanned is how many rows are read at once if the database can't check the filter.
func scanned(f *store.ActivityFilter) int {
	if f.Contains != "" {
		return 1000
	}
	return 0
}

// lookForRecipient is lookThrough for a filter with a recipient. It looks through
// some days. The query does not name the tenant, which is part of folded, so that no
// database prefers the index of tenants.
func (s *Store) lookForRecipient(ctx context.Context, tenant store.TenantID, f *store.ActivityFilter, at place, limit int,
	keep func(store.Activity, place)) (looked int, next place, err error) {
	from, at := bounds(f, at)
	days, rest, err := s.days(ctx, from, at.received)
	if err != nil || len(days) == 0 {
		return 0, end, err
	}
	recipients := []any{folded(tenant, f.Recipient)}
	for _, form := range f.RecipientForms {
		recipients = append(recipients, folded(tenant, form))
	}
	days, recipients = padded(days, daysAtOnce), padded(recipients, formsAtOnce)
	marks := func(list []any) string { return strings.TrimSuffix(strings.Repeat("?, ", len(list)), ", ") }
	query := `SELECT id, ` + activityColumns + ` FROM {activities} WHERE day IN (` + marks(days) + `) AND folded IN (` + marks(recipients) + `)
		AND received >= ? AND received <= ? AND (received < ? OR id < ?)`
	args := append(slices.Concat(days, recipients), from, at.received, at.received, at.id)
	conditions, args := where(f, args)
	limit = max(limit, scanned(f))
	n, last := 0, end
	err = s.query(ctx, query+conditions+` ORDER BY received DESC, id DESC LIMIT ?`, append(args, limit), func(rows *sql.Rows) error {
		a, id, err := scanActivity(rows)
		n, last = n+1, place{a.Received.UnixMicro(), id}
		if a.Tenant == tenant {
			keep(a, last)
		}
		return err
	})
	if n == limit {
		return n, last, err
	}
	return n, rest, err
}

// padded repeats the last of a list, so that one prepared query does for any number.
func padded(list []any, n int) []any {
	for len(list) < n {
		list = append(list, list[len(list)-1])
	}
	return list
}

// days returns the newest days between two times that may have activities, and the
// place where the days before them begin. They begin with a day that has some: the clock
// of a node may have been wrong by many years.
func (s *Store) days(ctx context.Context, from, until int64) (days []any, rest place, err error) {
	first, newest, err := s.firstAndLastDay(ctx, dayOf(time.UnixMicro(until)))
	if err != nil {
		return nil, end, err
	}
	oldest := max(first, dayOf(time.UnixMicro(from)))
	rest = end
	if newest-oldest >= daysAtOnce {
		oldest = newest - daysAtOnce + 1
		rest = place{oldest*(24*time.Hour).Microseconds() - 1, math.MaxInt64}
	}
	for day := newest; day >= oldest; day-- {
		days = append(days, day)
	}
	return days, rest, nil
}

// noDay is before all days.
const noDay int64 = math.MinInt64 / 2

// firstAndLastDay returns the days of the oldest activity, and of the newest up to a day;
// the last is before the first if there is none. SQLite uses the index for one of MIN and
// MAX in a SELECT, and not for both.
func (s *Store) firstAndLastDay(ctx context.Context, until int64) (first, last int64, err error) {
	const query = `SELECT COALESCE((SELECT MIN(day) FROM {activities}), 0), COALESCE((SELECT MAX(day) FROM {activities} WHERE day <= ?), ?)`
	err = s.query(ctx, query, []any{until, noDay}, func(rows *sql.Rows) error { return rows.Scan(&first, &last) })
	return first, last, err
}

// Recipients implements [store.History].
func (s *Store) Recipients(ctx context.Context, tenant store.TenantID, mail string, f store.RecipientFilter) (list []store.Activity, err error) {
	if !isText(mail, string(tenant)) {
		return nil, failed("list recipients", ctx.Err())
	}
	conditions, args := where(&store.ActivityFilter{States: f.States}, []any{mail, string(tenant), f.From})
	if f.Erased {
		conditions += ` AND erased <> 0`
	}
	err = s.query(ctx, `SELECT id, `+activityColumns+`, trail FROM {activities} WHERE mail = ? AND tenant = ? AND n >= ?`+conditions+` ORDER BY n LIMIT ?`,
		append(args, f.Size()), withTrail(&list))
	if err != nil {
		return nil, failed("list recipients", err)
	}
	return list, nil
}

// RecipientStates implements [store.History].
func (s *Store) RecipientStates(ctx context.Context, tenant store.TenantID, mail string) (map[store.ActivityState]int, error) {
	states := make(map[store.ActivityState]int)
	if !isText(mail, string(tenant)) {
		return states, failed("count recipients", ctx.Err())
	}
	err := s.query(ctx, `SELECT state, COUNT(*) FROM {activities} WHERE mail = ? AND tenant = ? GROUP BY state`, []any{mail, string(tenant)},
		func(rows *sql.Rows) error {
			var state store.ActivityState
			var n int
			err := rows.Scan(&state, &n)
			states[state] = n
			return err
		})
	if err != nil {
		return nil, failed("count recipients", err)
	}
	return states, nil
}

// TenantOf implements [store.History].
func (s *Store) TenantOf(ctx context.Context, mail string) (store.TenantID, error) {
	if !isText(mail) {
		return "", failed("find the tenant of a mail", cmp.Or(ctx.Err(), store.ErrNotFound))
	}
	list, err := selectAll(ctx, s, func(rows *sql.Rows) (t store.TenantID, err error) { return t, rows.Scan(&t) },
		`SELECT tenant FROM {activities} WHERE mail = ? ORDER BY tenant LIMIT 1`, mail)
	if err == nil && len(list) == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return "", failed("find the tenant of a mail", err)
	}
	return list[0], nil
}

// withTrail adds rows with a trail to a list.
func withTrail(list *[]store.Activity) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var trail []byte
		a, _, err := scanActivity(rows, &trail)
		a.Trail = string(trail)
		*list = append(*list, a)
		return err
	}
}

var selectActivities = keysQuery(`SELECT id, `+activityColumns+`, trail FROM {activities} WHERE (mail, tenant, n) IN (...)`, 3)

// ActivitiesByKey implements [store.History].
func (s *Store) ActivitiesByKey(ctx context.Context, keys []store.ActivityKey) (list []store.Activity, err error) {
	if err := ctx.Err(); err != nil {
		return nil, failed("find activities", err)
	}
	rows := make([][]any, 0, len(keys))
	for _, key := range keys {
		if isText(key.Mail, string(key.Tenant)) {
			rows = append(rows, []any{key.Mail, string(key.Tenant), key.N})
		}
	}
	if err := s.each(ctx, selectActivities, rows, withTrail(&list)); err != nil {
		return nil, failed("find activities", err)
	}
	return list, nil
}

// scanActivity reads the id, the activityColumns, and more.
func scanActivity(rows *sql.Rows, more ...any) (a store.Activity, id int64, err error) {
	var day, folded, received, updated, next, erased int64
	var domain, username, sender, author, recipient, subject, messageID, enhanced, said, host, field, reason []byte
	err = rows.Scan(append([]any{
		&id, &a.Mail, &a.Tenant, &a.N, &day, &folded, &received, &a.State, &a.Order, &updated, &a.Attempt, &next, &a.Reply.Code,
		&a.Size, &a.Times, &erased, &domain, &username, &sender, &author, &recipient, &subject, &messageID, &enhanced, &said, &host, &field, &reason,
	}, more...)...)
	a.Received, a.Updated, a.Erased = time.UnixMicro(received).UTC(), time.UnixMicro(updated).UTC(), erased != 0
	if next != 0 {
		a.NextAttempt = time.UnixMicro(next).UTC()
	}
	a.Domain, a.Username, a.From, a.Author, a.Recipient = string(domain), string(username), string(sender), string(author), string(recipient)
	a.Subject, a.MessageID, a.Field, a.Reason = string(subject), string(messageID), string(field), string(reason)
	a.Reply.Enhanced, a.Reply.Text, a.Reply.Host = string(enhanced), string(said), string(host)
	return a, id, err
}
