package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Apply implements [store.History].
func (s *Store) Apply(ctx context.Context, records []string, c store.Changes) error {
	return failed("apply", s.applyChanges(ctx, records, c))
}

// A change is what Apply does in its transaction.
type change struct {
	records, fresh, activities, counts, usages []statement
	was                                        []*store.ActivityChange
	grants                                     map[int64][][]any // see takeFromGrants
}

func (s *Store) applyChanges(ctx context.Context, records []string, c store.Changes) error {
	err := s.applyOnce(ctx, records, c, true)
	if errors.Is(err, errNotFresh) && ctx.Err() == nil {
		err = s.applyOnce(ctx, records, c, false)
	}
	return err
}

// isFresh reports whether the store most likely has no activity with the key of a change.
func isFresh(c *store.ActivityChange) bool { return c.Begins && c.Was == 0 && c.TrailWas == 0 }

// errNotFresh means that a plain INSERT of activities failed. Drivers word the error of
// a duplicate in different ways, so any error counts.
var errNotFresh = errors.New("activities could not be inserted")

// applyOnce applies changes. With plainly, it inserts those that are fresh with plain
// INSERTs, and returns errNotFresh if one fails. A plain INSERT takes a tenth (PostgreSQL, MariaDB)
// to a quarter (SQLite) less time than one that changes a row that the table has.
func (s *Store) applyOnce(ctx context.Context, records []string, c store.Changes, plainly bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ch, err := s.planChange(ctx, records, c, plainly)
	if err != nil {
		return err
	}
	return s.inTx(ctx, func(tx tx) error {
		if err := errors.Join(tx.planAnew(ctx), tx.writeFirst(ctx)); err != nil {
			return err
		}
		n, err := tx.run(ctx, ch.records)
		if err != nil {
			return err
		}
		if n != rowsOf(ch.records) {
			return store.ErrConflict
		}
		if err := tx.checkOrders(ctx, ch.was); err != nil {
			return err
		}
		if err := tx.planOnce(ctx); err != nil {
			return err
		}
		if _, err := tx.run(ctx, ch.fresh); err != nil {
			return fmt.Errorf("%w: %w", errNotFresh, err)
		}
		if _, err := tx.run(ctx, ch.activities); err != nil {
			return err
		}
		if _, err := tx.run(ctx, ch.counts); err != nil {
			return err
		}
		if _, err := tx.run(ctx, ch.usages); err != nil {
			return err
		}
		return errors.Join(tx.planAnew(ctx), tx.takeFromGrants(ctx, ch.grants))
	})
}

// planChange prepares the statements. The rows of each list are in the order of their
// keys, so that two transactions lock them in the same order.
func (s *Store) planChange(ctx context.Context, records []string, c store.Changes, plainly bool) (ch *change, err error) {
	ch = new(change)
	var keys [][]any
	records = slices.Sorted(slices.Values(records))
	for i, id := range records {
		if !isRecord(id) || i > 0 && id == records[i-1] {
			return nil, store.ErrConflict
		}
		keys = append(keys, []any{recordPrefix + id})
	}
	activities, err := sortedChanges(c.Activities)
	if err != nil {
		return nil, err
	}
	var fresh, others []*store.ActivityChange
	for _, a := range activities {
		if a.Was != 0 || a.TrailWas != 0 {
			ch.was = append(ch.was, a)
		}
		if plainly && isFresh(a) {
			fresh = append(fresh, a)
		} else {
			others = append(others, a)
		}
	}
	counts, err := sortedCounts(c.Counts)
	if err != nil {
		return nil, err
	}
	usages, grants, err := charges(c.Charges)
	if err != nil {
		return nil, err
	}
	ch.grants = grants
	return ch, errors.Join(
		s.plan(ctx, &ch.records, deleteMails, keys),
		s.planActivities(ctx, &ch.fresh, s.insertActivities(), fresh),
		s.planActivities(ctx, &ch.activities, s.upsertActivities(), others),
		s.planEach(ctx, &ch.counts, s.upsertCounts(), len(counts), func(args []any, i int) []any { return countRow(args, counts[i]) }),
		s.plan(ctx, &ch.usages, s.upsertUsages(), usages))
}

func (s *Store) planActivities(ctx context.Context, to *[]statement, q rowsQuery, list []*store.ActivityChange) error {
	if s.dialect == Postgres {
		return s.planPacked(ctx, to, q, list)
	}
	return s.planEach(ctx, to, q, len(list), func(args []any, i int) []any { return activityRow(args, &list[i].Activity) })
}

// sortedChanges checks changes and returns them in the order of their keys. It returns
// pointers, because a change has 500 bytes.
func sortedChanges(list []store.ActivityChange) ([]*store.ActivityChange, error) {
	sorted := make([]*store.ActivityChange, len(list))
	for i := range list {
		if err := fitsActivity(&list[i].Activity); err != nil {
			return nil, err
		}
		sorted[i] = &list[i]
	}
	slices.SortFunc(sorted, func(a, b *store.ActivityChange) int {
		if c := strings.Compare(a.Mail, b.Mail); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.N, b.N))
	})
	return sorted, nil
}

// sortedCounts checks counts and returns them in the order of their keys.
func sortedCounts(list []store.Count) ([]*store.Count, error) {
	sorted := make([]*store.Count, len(list))
	for i := range list {
		c := &list[i]
		if err := errors.Join(fits(string(c.Tenant)), fitsLong(c.Domain, c.Username)); err != nil {
			return nil, err
		}
		sorted[i] = c
	}
	slices.SortFunc(sorted, func(a, b *store.Count) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), a.Hour.Compare(b.Hour), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Username, b.Username))
	})
	return sorted, nil
}

var (
	selectOrders = keysQuery(`SELECT mail, tenant, n, ord, LENGTH(trail) FROM {activities} WHERE (mail, tenant, n) IN (...) ORDER BY mail, tenant, n FOR UPDATE`, 3)
	emptyTrails  = keysQuery(`UPDATE {activities} SET trail = ? WHERE (mail, tenant, n) IN (...)`, 3)
)

// checkOrders returns ErrConflict if an activity's Order is not Was, or its Trail has not
// the length TrailWas. Their rows stay locked. Trails that are replaced are empty then.
func (t tx) checkOrders(ctx context.Context, changes []*store.ActivityChange) error {
	if len(changes) == 0 {
		return nil
	}
	var keys, replaced [][]any
	for i, c := range changes {
		keys = append(keys, []any{c.Mail, string(c.Tenant), c.N})
		if c.TrailWas != 0 {
			replaced = append(replaced, keys[i])
		}
	}
	type state struct {
		order int64
		trail int
	}
	states := make(map[store.ActivityKey]state, len(changes))
	if err := t.read(ctx, selectOrders, keys, func(rows *sql.Rows) error {
		var k store.ActivityKey
		var s state
		err := rows.Scan(&k.Mail, &k.Tenant, &k.N, &s.order, &s.trail)
		states[k] = s
		return err
	}); err != nil {
		return err
	}
	for _, c := range changes {
		s, ok := states[store.ActivityKey{Tenant: c.Tenant, Mail: c.Mail, N: c.N}]
		if !ok || c.Was != 0 && s.order != c.Was || c.TrailWas != 0 && s.trail != c.TrailWas {
			return store.ErrConflict
		}
	}
	return t.write(ctx, emptyTrails, replaced, []byte{})
}

const (
	activityColumns = `mail, tenant, n, day, folded, received, state, ord, updated, attempt, next, code, size, times, erased,
		domain, username, sender, author, recipient, subject, message_id, enhanced, said, host, field, reason`
	countColumns = `tenant, hour, domain, username, accepted, delivered, deferred, soft, hard, rejected, canceled, bytes`
)

// fitsActivity returns an error if a text of an activity is too long.
func fitsActivity(a *store.Activity) error {
	return errors.Join(fits(string(a.Tenant)), shorter(maxID, []string{a.Mail}), fitsLong(a.Domain, a.Username, a.From, a.Author, a.Recipient,
		a.Subject, a.MessageID, a.Reply.Enhanced, a.Reply.Host, a.Field), shorter(maxReason, []string{a.Reply.Text, a.Reason}))
}

// The row of an activity has the first keyTexts of its texts, its numbers, and its other
// texts, which may have any bytes.
type (
	activityNumbers = [13]int64
	activityTexts   = [15]string
)

const keyTexts = 2

func numbersOf(a *store.Activity) activityNumbers {
	return activityNumbers{
		int64(a.N), dayOf(a.Received), folded(a.Tenant, a.Recipient), a.Received.UnixMicro(), int64(a.State), a.Order, a.Updated.UnixMicro(),
		int64(a.Attempt), microOf(a.NextAttempt), int64(a.Reply.Code), a.Size, int64(a.Times), 0,
	}
}

func textsOf(a *store.Activity) activityTexts {
	return activityTexts{
		a.Mail, string(a.Tenant), a.Domain, a.Username, a.From, a.Author, a.Recipient, a.Subject, a.MessageID,
		a.Reply.Enhanced, a.Reply.Text, a.Reply.Host, a.Field, a.Reason, a.Trail,
	}
}

// activityRow appends the row of an activity.
func activityRow(row []any, a *store.Activity) []any {
	texts := textsOf(a)
	for _, text := range texts[:keyTexts] {
		row = append(row, text)
	}
	for _, n := range numbersOf(a) {
		row = append(row, n)
	}
	return appendBlobs(row, texts[keyTexts:]...)
}

// countRow appends the row of a count.
func countRow(row []any, c *store.Count) []any {
	row = append(row, string(c.Tenant), c.Hour.UnixMicro())
	row = appendBlobs(row, c.Domain, c.Username)
	return append(row, c.Accepted, c.Delivered, c.Deferred, c.SoftBounced, c.HardBounced, c.Rejected, c.Canceled, c.Bytes)
}

// appendBlobs appends texts as []byte. One array has the bytes of all of them.
func appendBlobs(row []any, texts ...string) []any {
	n := 0
	for _, text := range texts {
		n += len(text)
	}
	all := make([]byte, 0, n)
	for _, text := range texts {
		from := len(all)
		all = append(all, text...)
		row = append(row, all[from:len(all):len(all)])
	}
	return row
}

// microOf returns a time as microseconds since 1970, and 0 for the zero time.
func microOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// dayOf is the number of days from 1970 to t.
func dayOf(t time.Time) int64 {
	micro, day := t.UnixMicro(), (24 * time.Hour).Microseconds()
	if micro%day < 0 {
		return micro/day - 1
	}
	return micro / day
}

// folded returns a hash of the tenant and the recipient, in which A to Z are as a to
// z; 0 if there is no recipient.
func folded(tenant store.TenantID, recipient string) int64 {
	if recipient == "" {
		return 0
	}
	h := fnv.New64a()
	io.WriteString(h, string(tenant)+"\x00")
	lower := []byte(recipient)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	h.Write(lower)
	return max(1, int64(h.Sum64()>>1))
}

// updateActivity says what becomes of a row that is there: a is the row, and
// excluded the new one. MySQL sets one column after the other, so that what a column
// depends on comes after it.
const updateActivity = `
	state = CASE WHEN newer THEN excluded.state ELSE a.state END,
	updated = CASE WHEN newer THEN excluded.updated ELSE a.updated END,
	next = CASE WHEN newer THEN excluded.next ELSE a.next END,
	code = CASE WHEN newer THEN excluded.code ELSE a.code END,
	enhanced = CASE WHEN newer THEN excluded.enhanced ELSE a.enhanced END,
	host = CASE WHEN newer THEN excluded.host ELSE a.host END,
	field = CASE WHEN newer THEN excluded.field ELSE a.field END,
	said = CASE WHEN newer AND a.erased = 0 THEN excluded.said ELSE a.said END,
	reason = CASE WHEN newer AND a.erased = 0 THEN excluded.reason ELSE a.reason END,
	attempt = CASE WHEN newer THEN excluded.attempt ELSE a.attempt END,
	ord = CASE WHEN excluded.ord > a.ord THEN excluded.ord ELSE a.ord END,
	day = CASE WHEN excluded.day < a.day THEN excluded.day ELSE a.day END,
	received = CASE WHEN excluded.received < a.received THEN excluded.received ELSE a.received END,
	domain = CASE WHEN LENGTH(a.domain) = 0 THEN excluded.domain ELSE a.domain END,
	username = CASE WHEN LENGTH(a.username) = 0 THEN excluded.username ELSE a.username END,
	sender = CASE WHEN LENGTH(a.sender) = 0 THEN excluded.sender ELSE a.sender END,
	author = CASE WHEN LENGTH(a.author) = 0 THEN excluded.author ELSE a.author END,
	subject = CASE WHEN LENGTH(a.subject) = 0 THEN excluded.subject ELSE a.subject END,
	message_id = CASE WHEN LENGTH(a.message_id) = 0 THEN excluded.message_id ELSE a.message_id END,
	folded = CASE WHEN LENGTH(a.recipient) = 0 AND a.erased = 0 THEN excluded.folded ELSE a.folded END,
	recipient = CASE WHEN LENGTH(a.recipient) = 0 AND a.erased = 0 THEN excluded.recipient ELSE a.recipient END,
	size = CASE WHEN a.size = 0 THEN excluded.size ELSE a.size END,
	times = a.times + excluded.times,
	trail = CASE WHEN a.erased = 0 THEN joined ELSE a.trail END`

const updateCount = `
	accepted = a.accepted + excluded.accepted, delivered = a.delivered + excluded.delivered, deferred = a.deferred + excluded.deferred,
	soft = a.soft + excluded.soft, hard = a.hard + excluded.hard, rejected = a.rejected + excluded.rejected,
	canceled = a.canceled + excluded.canceled, bytes = a.bytes + excluded.bytes`

// insertActivities adds activities, none of which may be there. With OR FAIL, SQLite
// keeps no copy of what the statement changes to undo it: the transaction is undone.
func (s *Store) insertActivities() rowsQuery {
	or := ""
	if s.dialect == SQLite {
		or = "OR FAIL "
	}
	return rowsQuery{`INSERT ` + or + `INTO {activities} (` + activityColumns + `, trail) VALUES ...`, tuple(28), ", ", false}
}

// upsertActivities adds activities or changes those that are there.
func (s *Store) upsertActivities() rowsQuery {
	joined := map[Dialect]string{SQLite: `CAST(a.trail || excluded.trail AS BLOB)`, Postgres: `a.trail || excluded.trail`, MySQL: `CONCAT(a.trail, excluded.trail)`}
	const newer = `(excluded.ord > a.ord OR excluded.ord = a.ord AND excluded.attempt > a.attempt)`
	update := strings.NewReplacer("joined", joined[s.dialect], "newer", newer).Replace(updateActivity)
	return s.upsert("activities", activityColumns+", trail", 28, "mail, tenant, n", update)
}

// upsertCounts adds counts to those that are there.
func (s *Store) upsertCounts() rowsQuery {
	return s.upsert("counts", countColumns, 12, "tenant, hour, domain, username", updateCount)
}

var excludedColumn = regexp.MustCompile(`excluded\.(\w+)`)

func (s *Store) upsert(table, columns string, n int, key, update string) rowsQuery {
	if s.dialect == MySQL {
		update = excludedColumn.ReplaceAllString(strings.ReplaceAll(update, "a.", "{"+table+"}."), "VALUES($1)")
		return rowsQuery{`INSERT INTO {` + table + `} (` + columns + `) VALUES ... ON DUPLICATE KEY UPDATE` + update, tuple(n), ", ", false}
	}
	return rowsQuery{`INSERT INTO {` + table + `} AS a (` + columns + `) VALUES ... ON CONFLICT (` + key + `) DO UPDATE SET` + update, tuple(n), ", ", false}
}
