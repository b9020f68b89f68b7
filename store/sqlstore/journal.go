package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/events"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

var _ store.History = (*Store)(nil)

// A record is a row of the deliveries whose mail begins with recordPrefix. All of
// them are behind all mails.
const (
	recordPrefix = "~"
	asidePrefix  = "~~"
)

// insertRecorded has no ON CONFLICT clause: if a mail exists, nothing is recorded.
var insertRecorded = rowsQuery{`INSERT INTO {deliveries} (` + deliveryColumns + `, ` + mailColumns + `) VALUES ...`, tuple(31), ", ", false}

// recordRow returns the row of a record with the chunks.
func (s *Store) recordRow(chunks []events.Chunk) []any {
	n := 0
	for _, c := range chunks {
		n += c.Events
	}
	id := recordPrefix + s.records.Next(time.Now())
	none := []byte{}
	row := []any{id, 0, "", none, none, none, "", nil, 0, 0, 0, 0, 0, 0, none, n}
	for range 13 {
		row = append(row, nil)
	}
	return append(row, nil, events.Join(chunks))
}

// recordRows returns the records of what the operations record.
func (s *Store) recordRows(ops []*operation) (rows [][]any) {
	var some []events.Chunk
	size := 0
	for _, op := range ops {
		if op.skipped {
			continue
		}
		for _, c := range op.recorded() {
			if size += len(c.Data); len(some) > 0 && size > events.MaxChunk {
				rows, some, size = append(rows, s.recordRow(some)), nil, len(c.Data)
			}
			some = append(some, c)
		}
	}
	if len(some) > 0 {
		rows = append(rows, s.recordRow(some))
	}
	return rows
}

// recorded returns the events of an operation except those of lost outcomes.
func (op *operation) recorded() []events.Chunk {
	if len(op.lost) == 0 || len(op.events) == 0 {
		return op.events
	}
	var kept []store.Outcome
	for i := range op.outcomes {
		if !op.isLost[i] {
			kept = append(kept, op.outcomes[i])
		}
	}
	return events.Encode(eventsOf(kept))
}

// planRecords adds the rows of records to those of mails. What does not fit into
// one statement with the mails is written with others.
func (s *Store) planRecords(ctx context.Context, b *batch, firsts, records [][]any) error {
	if len(records) == 0 {
		return s.plan(ctx, &b.writes, insertFirst, firsts)
	}
	b.records = true
	if err := s.plan(ctx, &b.writes, insertRecorded, append(firsts, records[0])); err != nil {
		return err
	}
	for _, row := range records[1:] {
		if err := s.plan(ctx, &b.writes, insertRecorded, [][]any{row}); err != nil {
			return err
		}
	}
	return nil
}

// encode checks events and encodes them. It refuses those that Apply could not take: they
// would wait for ever, and all others behind them.
func encode(list []*store.Event) ([]events.Chunk, error) {
	for _, e := range list {
		if err := errors.Join(
			fits(string(e.Tenant)),
			shorter(maxID, []string{e.Mail}), fitsLong(e.Domain, e.Username, e.From, e.Author, e.Recipient, e.Subject, e.MessageID, e.Reply.Enhanced, e.Reply.Host, e.Field),
			shorter(maxReason, []string{e.Reply.Text, e.Reason, e.Grants}),
		); err != nil {
			return nil, fmt.Errorf("event of %q: %w", e.Mail, err)
		}
		if !isText(string(e.Tenant), e.Mail) {
			return nil, fmt.Errorf("event of mail %q of tenant %q: both must be UTF-8 without U+0000", e.Mail, e.Tenant)
		}
	}
	return events.Encode(list), nil
}

// pointers returns pointers to events, which have 400 bytes each.
func pointers(list []store.Event) []*store.Event {
	to := make([]*store.Event, len(list))
	for i := range list {
		to[i] = &list[i]
	}
	return to
}

// Record implements [store.History].
func (s *Store) Record(ctx context.Context, list []store.Event) error {
	if len(list) == 0 {
		return failed("record", ctx.Err())
	}
	chunks, err := encode(pointers(list))
	if err == nil {
		err = s.puts.do(ctx, &operation{events: chunks}, s.commit)
		s.checkpoint(ctx)
	}
	return failed("record", err)
}

// Records implements [store.History]. It finds out how many records hold limit
// events before it reads their contents.
func (s *Store) Records(ctx context.Context, limit int) ([]store.Record, error) {
	list, err := s.readRecords(ctx, limit)
	return list, failed("read records", err)
}

// recordsAtOnce is how many records are asked for at a time.
const recordsAtOnce = 256

func (s *Store) readRecords(ctx context.Context, limit int) (list []store.Record, err error) {
	for after := recordPrefix; ; {
		keys, last, left, err := s.oldestRecords(ctx, after, limit)
		if err != nil {
			return nil, err
		}
		some, err := s.recordsOf(ctx, keys)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
		if len(keys) < recordsAtOnce || left <= 0 {
			return list, nil
		}
		after, limit = last, left
	}
}

// oldestRecords returns the keys of the records after one that hold limit events,
// and how many events are then left to find.
func (s *Store) oldestRecords(ctx context.Context, after string, limit int) (keys [][]any, last string, left int, err error) {
	const query = `SELECT mail, recipients FROM {deliveries} WHERE mail > ? AND mail < '` + asidePrefix + `' AND n = 0 ORDER BY mail LIMIT ?`
	err = s.query(ctx, query, []any{after, recordsAtOnce}, func(rows *sql.Rows) error {
		var n int
		if err := rows.Scan(&last, &n); err != nil {
			return err
		}
		if len(keys) == 0 || limit > 0 {
			keys = append(keys, []any{last})
			limit -= n
		}
		return nil
	})
	return keys, last, limit, err
}

var selectRecords = keysQuery(`SELECT mail, recipients, content FROM {deliveries} WHERE mail IN (...) AND n = 0`, 1)

// recordsOf reads records.
func (s *Store) recordsOf(ctx context.Context, keys [][]any) (list []store.Record, err error) {
	err = s.each(ctx, selectRecords, keys, func(rows *sql.Rows) error {
		var id string
		var n int
		var content []byte
		if err := rows.Scan(&id, &n, &content); err != nil {
			return err
		}
		list = append(list, recordOf(strings.TrimPrefix(id, recordPrefix), n, content))
		return nil
	})
	slices.SortFunc(list, func(a, b store.Record) int { return strings.Compare(a.ID, b.ID) })
	return list, err
}

// recordOf decodes a record.
func recordOf(id string, n int, content []byte) store.Record {
	list, err := events.Decode(content, n)
	if err != nil {
		return store.Record{ID: id, Damage: err.Error()}
	}
	for i := range list {
		list[i].ID = id + "_" + strconv.Itoa(i)
	}
	return store.Record{ID: id, Events: list}
}

// SetAside implements [store.History]. The record stays in the table of deliveries,
// under '~~' and its ID.
func (s *Store) SetAside(ctx context.Context, record string) error {
	if err := ctx.Err(); err != nil || !isRecord(record) {
		return failed("set aside", err)
	}
	_, err := s.exec(ctx, `UPDATE {deliveries} SET mail = ? WHERE mail = ? AND n = 0`, asidePrefix+record, recordPrefix+record)
	return failed("set aside", err)
}

// Restore implements [store.History].
func (s *Store) Restore(ctx context.Context) (restored int, err error) {
	for after := asidePrefix; after != "" && err == nil; {
		var n int
		n, after, err = s.restore(ctx, after)
		restored += n
	}
	return restored, failed("restore", err)
}

// restore looks at the next records that were set aside. It returns the place to go on
// from, which is empty at the end.
func (s *Store) restore(ctx context.Context, after string) (restored int, next string, err error) {
	const query = `SELECT mail, recipients, content FROM {deliveries} WHERE mail > ? AND n = 0 ORDER BY mail LIMIT ?`
	const atOnce = 16
	seen, last := 0, ""
	var readable []string
	err = s.query(ctx, query, []any{after, atOnce}, func(rows *sql.Rows) error {
		var n int
		var content []byte
		err := rows.Scan(&last, &n, &content)
		if _, damage := events.Decode(content, n); damage == nil && err == nil {
			readable = append(readable, strings.TrimPrefix(last, asidePrefix))
		}
		seen++
		return err
	})
	for _, id := range readable {
		if err != nil {
			break
		}
		var n int64
		n, err = s.exec(ctx, `UPDATE {deliveries} SET mail = ? WHERE mail = ? AND n = 0`, recordPrefix+id, asidePrefix+id)
		restored += int(n)
	}
	if seen < atOnce {
		last = ""
	}
	return restored, last, err
}

// isRecord reports whether an ID can be that of a record.
func isRecord(id string) bool {
	return id != "" && len(id) <= maxID-len(asidePrefix) && !strings.ContainsFunc(id, notInID)
}

// Journal implements [store.History]. It takes as long as counting the entries of an
// index does.
func (s *Store) Journal(ctx context.Context) (j store.Journal, err error) {
	const query = `SELECT COUNT(*), COALESCE(MIN(mail), '') FROM {deliveries} WHERE mail > '` + recordPrefix + `' AND mail < '` + asidePrefix + `' AND n = 0`
	err = s.query(ctx, query, nil, func(rows *sql.Rows) error {
		var oldest string
		err := rows.Scan(&j.Records, &oldest)
		if j.Records > 0 {
			j.Oldest = spools.RecordTime(strings.TrimPrefix(oldest, recordPrefix))
		}
		return err
	})
	return j, failed("look at the journal", err)
}

// Claim implements [store.History].
func (s *Store) Claim(ctx context.Context, work, who string, now, until time.Time) (mine bool, err error) {
	if err := fits(work, who); err != nil {
		return false, failed("claim", err)
	}
	err = s.inTx(ctx, func(tx tx) error {
		added, err := tx.exec(ctx, `INSERT INTO {claims} (work, who, until) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, work, who, until.UnixMicro())
		if mine = added > 0; err != nil || mine {
			return err
		}
		_, err = tx.exec(ctx, `UPDATE {claims} SET who = ?, until = ? WHERE work = ? AND (who = ? OR until <= ?)`,
			who, until.UnixMicro(), work, who, now.UnixMicro())
		if err != nil {
			return err
		}
		mine, err = tx.exists(ctx, `SELECT 1 FROM {claims} WHERE work = ? AND who = ? AND until = ?`, work, who, until.UnixMicro())
		return err
	})
	return mine && err == nil, failed("claim", err)
}

// query runs a prepared query that reads, and calls scan for each row of the result.
func (s *Store) query(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	st, err := s.prepared(ctx, query)
	if err != nil {
		return err
	}
	return s.reading(ctx, func(on func(*sql.Stmt) *sql.Stmt) error {
		rows, err := on(st).QueryContext(ctx, args...)
		if err != nil {
			return err
		}
		return scanAll(rows, scan)
	})
}
