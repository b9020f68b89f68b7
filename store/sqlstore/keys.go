package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// This file is about the keys of mails. Only a Put of a mail with a key writes and
// reads their table. Like other Puts it expects that its row is new, and looks at
// what is there only if that turns out to be wrong.

// A submission is the Key of a mail that is put.
type submission struct {
	username, text, fingerprint string
	received                    time.Time
	ended                       string // the mail of a row that has ended and is in the way
}

// keyOf returns the key of a mail, or nil.
func keyOf(m *store.Mail) *submission {
	if m.Key == "" {
		return nil
	}
	return &submission{username: m.Username, text: m.Key, fingerprint: m.Fingerprint, received: m.Received}
}

func (k *submission) duplicate(mail, fingerprint string) error {
	return &store.DuplicateError{ID: mail, Differs: fingerprint != k.fingerprint}
}

// A keyPlan collects the rows of the keys that a batch writes.
type keyPlan struct {
	first       map[[2]string]*operation
	rows, ended [][]any
}

// add adds the key of an operation, if it has one. It returns the operation that has
// the same key and comes first, if there is one.
func (p *keyPlan) add(op *operation) (first *operation) {
	k := op.key
	if k == nil {
		return nil
	}
	name := [2]string{k.username, k.text}
	if first := p.first[name]; first != nil {
		return first
	}
	if p.first == nil {
		p.first = make(map[[2]string]*operation)
	}
	p.first[name] = op
	p.rows = append(p.rows, []any{[]byte(k.username), []byte(k.text), op.mail, []byte(k.fingerprint), k.received.Add(store.KeyTime).UnixMicro()})
	if k.ended != "" {
		p.ended = append(p.ended, []any{[]byte(k.username), []byte(k.text), k.ended})
	}
	return nil
}

var (
	insertKeys  = rowsQuery{`INSERT INTO {submissions} (username, submission, mail, fingerprint, until) VALUES ... ON CONFLICT DO NOTHING`, tuple(5), ", ", false}
	deleteEnded = keysQuery(`DELETE FROM {submissions} WHERE (username, submission, mail) IN (...)`, 3)
	selectKeys  = keysQuery(`SELECT username, submission, mail, fingerprint, until FROM {submissions} WHERE (username, submission) IN (...)`, 2)
)

// planKeys adds the statements to a batch. The rows are sorted, so that transactions
// lock them in the same order.
func (s *Store) planKeys(ctx context.Context, b *batch, p *keyPlan) error {
	for _, rows := range [][][]any{p.ended, p.rows} {
		slices.SortFunc(rows, func(a, b []any) int {
			return cmp.Or(bytes.Compare(a[0].([]byte), b[0].([]byte)), bytes.Compare(a[1].([]byte), b[1].([]byte)))
		})
	}
	if err := s.plan(ctx, &b.writes, deleteEnded, p.ended); err != nil {
		return err
	}
	return s.plan(ctx, &b.writes, insertKeys, p.rows)
}

// lookForKeys finds out which keys are kept. It sets the errors of Puts that repeat
// another one.
func (s *Store) lookForKeys(ctx context.Context, ops []*operation) error {
	var names [][]any
	of := make(map[[2]string][]*operation)
	for _, op := range ops {
		if op.key == nil || op.err != nil {
			continue
		}
		op.key.ended = ""
		names = append(names, []any{[]byte(op.key.username), []byte(op.key.text)})
		name := [2]string{op.key.username, op.key.text}
		of[name] = append(of[name], op)
	}
	return s.each(ctx, selectKeys, names, func(rows *sql.Rows) error {
		var username, text, fingerprint []byte
		var mail string
		var until int64
		err := rows.Scan(&username, &text, &mail, &fingerprint, &until)
		for _, op := range of[[2]string{string(username), string(text)}] {
			switch {
			case op.key.received.UnixMicro() >= until:
				op.key.ended = mail
			case mail == op.mail:
				op.found = true
			default:
				op.err = op.key.duplicate(mail, string(fingerprint))
			}
		}
		return err
	})
}

// sweepChunks is how many transactions sweepKeys makes at most. Lease waits for them.
const sweepChunks = 5

// sweepKeys removes keys that have ended, a thousand in a transaction. It reports whether
// more may be left.
func (s *Store) sweepKeys(ctx context.Context, now time.Time) (more bool, err error) {
	for range sweepChunks {
		end := now.UnixMicro()
		more = false
		err := s.query(ctx, `SELECT until FROM {submissions} WHERE until <= ? ORDER BY until LIMIT 1 OFFSET 1000`, []any{end}, func(rows *sql.Rows) error {
			more = true
			return rows.Scan(&end)
		})
		if err != nil {
			return false, err
		}
		if _, err := s.exec(ctx, `DELETE FROM {submissions} WHERE until <= ?`, end); err != nil || !more {
			return false, err
		}
	}
	return more, nil
}
