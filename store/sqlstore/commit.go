package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"

	"github.com/gatepost-mail/gatepost/store"
)

// An operation is a Put or a Settle that waits for its commit.
type operation struct {
	// Put
	mail       string // its id; "": this is a Settle
	row        []any
	content    []byte
	deliveries [][]any
	upload     string // the name of a content that was written before
	found      bool   // there is such a mail already
	skipped    bool   // for that cause, or because another Put of it is ahead

	// Settle
	outcomes []store.Outcome
	stale    []bool          // for each outcome: somebody else holds the lease
	lost     []store.Outcome // those that are stale, or repeat another

	err error
}

// commit does operations in one transaction. If one of them makes it fail,
// each is done by itself. Their err says what came of them.
func (s *Store) commit(ctx context.Context, ops []*operation) {
	apart, err := s.together(ctx, ops)
	for i, op := range ops {
		if op.err != nil {
			continue
		}
		if op.err = err; apart && len(ops) > 1 {
			var down bool
			if down, op.err = s.together(ctx, ops[i:i+1]); op.err != nil && !down {
				apart, err = false, op.err // and so for the rest
			}
		}
	}
}

// together does operations in one transaction. It expects that no mail exists
// and that each lease is held. If that turns out to be wrong, it rolls back,
// has a look, and tries again with the rest. When it fails, apart says that
// some of the operations may succeed without the others.
func (s *Store) together(ctx context.Context, ops []*operation) (apart bool, err error) {
	for range maxTries {
		b, err := s.planBatch(ctx, ops)
		if err != nil {
			return false, err
		}
		var refused error // neither by the beginning nor by the commit
		err = s.inTx(ctx, func(tx tx) error {
			refused = b.run(ctx, tx)
			return refused
		})
		if !errors.Is(err, errStale) {
			return refused != nil, err
		}
		if err := s.look(ctx, ops); err != nil {
			return false, err
		}
	}
	return true, errors.New("the spool changes all the time")
}

// errStale means that the database is not as the operations expect.
var errStale = errors.New("changed by somebody else")

// A batch is what one transaction does, in this order.
type batch struct {
	writes  []statement // each must change a row for each of its own
	lock    []statement // the mails that have lost deliveries
	uploads []statement // asks which contents go
	mails   []statement // removes the mails
	count   []statement // of deliveries
}

var (
	deleteUploads = keysQuery(`DELETE FROM {uploads} WHERE upload IN (...)`, 1)
	deleteDone    = keysQuery(`DELETE FROM {deliveries} WHERE (mail, n, lease) IN (...)`, 3)
	lockMails     = keysQuery(`SELECT id FROM {mails} WHERE id IN (...) ORDER BY id FOR UPDATE`, 1)
	goneUploads   = keysQuery(`SELECT upload FROM {mails} WHERE id IN (...) AND upload <> '' AND `+gone, 1)
	deleteMails   = keysQuery(`DELETE FROM {mails} WHERE id IN (...) AND `+gone, 1)
	addToCount    = keysQuery(`UPDATE {counts} SET deliveries = deliveries + ? WHERE slot IN (...)`, 1)
)

const gone = `NOT EXISTS (SELECT 1 FROM {deliveries} WHERE mail = id)`

// slots is the number of rows of the table of counts.
const slots = 8

// planBatch makes the statements for operations that haven't failed yet.
func (s *Store) planBatch(ctx context.Context, ops []*operation) (*batch, error) {
	rows := batchRows{seen: make(map[any]bool)}
	for _, op := range ops {
		if op.err != nil {
			continue
		}
		if op.mail != "" {
			rows.put(op)
		} else {
			rows.settle(op)
		}
	}
	var b batch
	var failed error
	plan := func(to *[]statement, q rowsQuery, rows [][]any, first ...any) {
		if len(rows) == 0 || failed != nil {
			return
		}
		var statements []statement
		statements, failed = s.plan(ctx, q, rows, first...)
		*to = append(*to, statements...)
	}
	plan(&b.writes, insertMails, rows.mails)
	plan(&b.writes, insertDeliveries, rows.deliveries)
	plan(&b.writes, deleteUploads, rows.uploads)
	plan(&b.writes, deleteDone, rows.done)
	plan(&b.writes, s.updateLater(), rows.later)
	if s.dialect != SQLite { // which has one writer
		plan(&b.lock, lockMails, rows.touched)
	}
	plan(&b.uploads, goneUploads, rows.touched)
	plan(&b.mails, deleteMails, rows.touched)
	if change := len(rows.deliveries) - len(rows.done); change != 0 {
		plan(&b.count, addToCount, [][]any{{rand.IntN(slots)}}, change)
	}
	return &b, failed
}

// run does the batch in a transaction, or returns errStale.
//
// Two transactions may settle the last deliveries of one mail at once, and
// neither sees what the other does. So both lock the mail, when they have
// removed their deliveries and before they ask whether any is left: the second
// to get the lock sees that there is none.
func (b *batch) run(ctx context.Context, tx tx) error {
	if all, err := tx.run(ctx, b.writes, true); err != nil || !all {
		return cmp.Or(err, errStale)
	}
	nothing := func(*sql.Rows) error { return nil }
	if err := tx.each(ctx, b.lock, nothing); err != nil {
		return err
	}
	var uploads []string
	if err := tx.each(ctx, b.uploads, func(rows *sql.Rows) error {
		uploads = append(uploads, "")
		return rows.Scan(&uploads[len(uploads)-1])
	}); err != nil {
		return err
	}
	for _, name := range uploads {
		if _, err := tx.exec(ctx, deleteContent, name); err != nil {
			return err
		}
	}
	if _, err := tx.run(ctx, b.mails, false); err != nil {
		return err
	}
	_, err := tx.run(ctx, b.count, false)
	return err
}

// batchRows are the arguments of the statements of a batch.
type batchRows struct {
	mails, deliveries, uploads [][]any      // put
	done, later                [][]any      // settled
	touched                    [][]any      // the mails of those done
	seen                       map[any]bool // what operations were about
}

// first reports whether it is called with key for the first time.
func (r *batchRows) first(key any) bool {
	before := r.seen[key]
	r.seen[key] = true
	return !before
}

func (r *batchRows) put(op *operation) {
	op.skipped = op.found || !r.first(op.mail)
	if op.skipped {
		return
	}
	r.mails = append(r.mails, op.row)
	r.deliveries = append(r.deliveries, op.deliveries...)
	if op.upload != "" {
		r.uploads = append(r.uploads, []any{op.upload})
	}
}

func (r *batchRows) settle(op *operation) {
	type lease struct {
		mail  string
		n     int
		lease int64
	}
	type touched struct{ mail string }
	op.lost = nil
	for i, o := range op.outcomes {
		switch {
		case op.stale[i] || !r.first(lease{o.Mail, o.N, o.Lease}):
			op.lost = append(op.lost, o)
			continue
		case !o.Done:
			r.later = append(r.later, laterRow(o))
			continue
		}
		r.done = append(r.done, []any{o.Mail, o.N, o.Lease})
		if r.first(touched{o.Mail}) {
			r.touched = append(r.touched, []any{o.Mail})
		}
	}
}
