package sqlstore

import (
	"context"
	"errors"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/events"
)

// An operation is a Put, a Settle or a Record that waits for its commit.
type operation struct {
	// Put
	mail    string // its id; "": this is another operation
	notice  bool
	digest  int64
	first   []any // its first row
	others  [][]any
	content []byte
	upload  string      // the name of a content that was written before
	found   bool        // there is such a mail already
	skipped bool        // for that cause, or because another Put of it is ahead
	ahead   *operation  // that Put
	key     *submission // nil if the mail has none
	behind  *operation  // a Put of another mail with that key, which is kept

	// Settle
	outcomes []store.Outcome
	stale    []bool          // for each outcome: its token is not the delivery's
	isLost   []bool          // for each outcome: it is stale, or repeats another
	lost     []store.Outcome // those outcomes

	events []events.Chunk // what is recorded if all goes well

	err error
}

// commit does operations in one transaction. If one of them makes it fail,
// each is done by itself. Their err is the result of each.
func (s *Store) commit(ctx context.Context, ops []*operation) {
	defer func() {
		s.written(bytesOf(ops))
		s.noteSettled(ctx, ops)
	}()
	apart, err := s.together(ctx, ops)
	for i, op := range ops {
		switch {
		case op.err != nil:
		case err == nil && op.ahead != nil && op.ahead.err == nil && !op.same(op.ahead.notice, op.ahead.digest):
			op.err = errTaken(op.mail)
		case err == nil && op.behind != nil:
			op.err = op.key.duplicate(op.behind.mail, op.behind.key.fingerprint)
		case err == nil || !apart || len(ops) == 1:
			op.err = err
		default:
			refused, alone := s.together(ctx, ops[i:i+1]) // which may set op.err
			if op.err == nil {
				op.err = alone
			}
			if alone != nil && !refused {
				apart, err = false, alone // and so for the rest
			}
		}
	}
}

// bytesOf is roughly how much operations write.
func bytesOf(ops []*operation) (n int) {
	for _, op := range ops {
		n += op.size() + rowCost*(1+len(op.others)+len(op.outcomes))
	}
	return n
}

// size is how many bytes an operation has besides its rows.
func (op *operation) size() int {
	n := len(op.content)
	for _, c := range op.events {
		n += len(c.Data)
	}
	return n
}

// rowCost is roughly what a row takes without its content.
const rowCost = 512

// together does operations in one transaction. It expects that no mail exists
// and that each lease is held. If that turns out to be wrong, it rolls back,
// has a look, and tries again with the rest. When it fails, apart says that
// some of the operations may succeed without the others.
func (s *Store) together(ctx context.Context, ops []*operation) (apart bool, err error) {
	for range maxTries {
		var b batch
		if err := errors.Join(s.planSettles(ctx, &b, pending(ops)), s.planPuts(ctx, &b, pending(ops))); err != nil {
			return false, err
		}
		if len(b.writes) == 0 && b.rest == nil {
			return false, nil
		}
		if err := s.plan(ctx, &b.tidy, deleteDropped, s.outside.takeDropped()); err != nil {
			return false, err
		}
		err, refused := s.transact(ctx, &b)
		if err == nil && b.rest != nil {
			s.dropSettled(ctx, b.rest.outside)
		}
		if !errors.Is(err, errStale) {
			return refused != nil && !s.isBusy(err), err
		}
		if err := s.look(ctx, ops); err != nil {
			return false, err
		}
	}
	return true, errors.New("the spool changes all the time")
}

// transact runs a batch. refused is the error of a statement, as opposed to one of
// the transaction's beginning or end.
func (s *Store) transact(ctx context.Context, b *batch) (err, refused error) {
	if b.isSingle() {
		if err := s.single(ctx, b.writes[0]); err == nil || errors.Is(err, errStale) || s.isBusy(err) {
			return err, nil
		}
	}
	err = s.inTx(ctx, func(tx tx) error {
		refused = b.run(ctx, tx)
		return refused
	})
	return err, refused
}

// pending are the operations that haven't failed yet.
func pending(ops []*operation) []*operation {
	var list []*operation
	for _, op := range ops {
		if op.err == nil {
			list = append(list, op)
		}
	}
	return list
}

// errStale means that the database is not as the operations expect.
var errStale = errors.New("changed by another transaction")

// A batch is the work of one transaction.
type batch struct {
	writes []statement
	strict bool        // a write that changes fewer rows than it names must be undone
	tidy   []statement // remove rows that nothing needs
	rest   *removal    // what remains to be done; nil if nothing does

	settles bool // not only Puts
	records bool // a mail that exists is an error
}

// run does the batch in a transaction, or returns errStale.
func (b *batch) run(ctx context.Context, tx tx) error {
	if b.settles {
		if err := tx.planAnew(ctx); err != nil {
			return err
		}
	}
	n, err := tx.run(ctx, b.writes)
	if b.records && tx.s.isDuplicate(err) {
		err = errStale
	}
	if err == nil && n != rowsOf(b.writes) {
		err = errStale
	}
	if err == nil {
		_, err = tx.run(ctx, b.tidy)
	}
	if err != nil || b.rest == nil {
		return err
	}
	return b.rest.run(ctx, tx)
}

// isSingle reports whether the batch is a statement that needs no transaction
// around it.
func (b *batch) isSingle() bool {
	return len(b.writes) == 1 && !b.strict && b.rest == nil && len(b.tidy) == 0
}

// single runs a statement that is a transaction of its own, which saves the round
// trips for its beginning and its end. After an error the statement is tried again
// in a transaction, where the cause is easier to tell.
func (s *Store) single(ctx context.Context, st statement) error {
	return s.write(ctx, func() error {
		n, err := rowsAffected(st.prepared.ExecContext(ctx, st.args...))
		if s.isDuplicate(err) || err == nil && n < st.rows {
			err = errStale
		}
		return err
	})
}
