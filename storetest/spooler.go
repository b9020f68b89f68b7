package storetest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A spooler is the spool of one case, with the checks that cases have in
// common.
type spooler struct {
	*testing.T
	store.Spool
	open  func() store.Spool
	other store.Spool // the second handle
}

// due is when the first of newDeliveries is due, the others follow by the
// microsecond, and soon all are.
var (
	due  = day.Add(time.Minute)
	soon = due.Add(time.Minute)
)

// content is what put gives a mail.
func content(id string) string {
	return "Subject: " + id + "\r\n\r\nfor the sixth time\r\n"
}

// newMail returns a mail of acme, with something in each field.
func newMail(id string) store.Mail {
	return store.Mail{
		ID: id, Tenant: acme, Domain: acmeDomain, Username: "u1", From: "shop@" + acmeDomain,
		Remote: addr6, Received: day, Size: int64(len(content(id))),
		Body: "8BITMIME", UTF8: true, RequireTLS: true, Return: "HDRS", EnvelopeID: "env " + id,
	}
}

// newDeliveries returns n deliveries for Put that no node has leased.
func newDeliveries(n int) []store.Delivery {
	all := make([]store.Delivery, n)
	for i := range all {
		all[i] = store.Delivery{
			Recipient: fmt.Sprintf("to%d@example.net", i), Notify: "FAILURE,DELAY",
			OriginalRecipient: fmt.Sprintf("rfc822;first%d@example.net", i),
			Destination:       "example.net",
			Next:              due.Add(time.Duration(i) * time.Microsecond),
		}
	}
	return all
}

// put puts a mail of n recipients and returns its deliveries.
func (t *spooler) put(id string, n int) []store.Delivery {
	t.Helper()
	return t.putAs(newMail(id), newDeliveries(n), content(id))
}

// putAs puts the mail and returns the deliveries as Put numbers them.
func (t *spooler) putAs(m store.Mail, deliveries []store.Delivery, content string) []store.Delivery {
	t.Helper()
	m.Size = int64(len(content))
	t.ok(t.Put(t.Context(), m, deliveries, strings.NewReader(content)), "Put(%q)", m.ID)
	return ofMail(m.ID, deliveries)
}

// ofMail returns the deliveries as Put numbers them.
func ofMail(id string, deliveries []store.Delivery) []store.Delivery {
	all := slices.Clone(deliveries)
	for i := range all {
		all[i].Mail, all[i].N = id, i
	}
	return all
}

// ok ends the case if err is not nil; the rest is the call, for the message.
func (t *spooler) ok(err error, format string, args ...any) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

// fails reports err if it doesn't match want.
func (t *spooler) fails(err, want error, format string, args ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %q", fmt.Sprintf(format, args...), err, want)
	}
}

// node is the ID of the node that leases in most cases.
const node = "n1"

// lease leases for node what is due at now.
func (t *spooler) lease(now time.Time, limit int) []store.Leased {
	t.Helper()
	return t.leaseAs(store.LeaseRequest{Node: node, Now: now, Limit: limit})
}

func (t *spooler) leaseAs(r store.LeaseRequest) []store.Leased {
	t.Helper()
	leased, err := t.Lease(t.Context(), r)
	t.ok(err, "Lease(%+v)", r)
	return leased
}

// free removes the node, so that what it had leased waits again. Its next Lease
// must ask for the deaths.
func (t *spooler) free(node string) {
	t.Helper()
	nodes, err := t.Nodes(t.Context())
	t.ok(err, "Nodes")
	for _, n := range nodes {
		if n.ID == node {
			t.ok(t.Remove(t.Context(), n), "Remove(%+v)", n)
		}
	}
}

// take leases exactly n and returns them by key.
func (t *spooler) take(now time.Time, n int) []store.Delivery {
	t.Helper()
	leased := t.lease(now, n)
	if len(leased) != n {
		t.Fatalf("Lease(%v, %d): got %d", now, n, len(leased))
	}
	return deliveriesOf(leased)
}

// settle settles, and reports what is lost.
func (t *spooler) settle(outcomes ...store.Outcome) {
	t.Helper()
	lost, err := t.Settle(t.Context(), outcomes)
	t.ok(err, "Settle of %d outcomes", len(outcomes))
	if len(lost) > 0 {
		t.Errorf("Settle: got %+v as lost, want none", lost)
	}
}

// loses calls Settle, and reports outcomes that Settle does not return as lost.
func (t *spooler) loses(outcomes ...store.Outcome) {
	t.Helper()
	lost, err := t.Settle(t.Context(), outcomes)
	t.ok(err, "Settle of %d outcomes", len(outcomes))
	if !slices.Equal(lost, outcomes) {
		t.Errorf("Settle: got lost\n%+v, want\n%+v", lost, outcomes)
	}
}

// done is the outcome of a delivery that succeeded.
func done(d store.Delivery) store.Outcome {
	return store.Outcome{Mail: d.Mail, N: d.N, Lease: d.Lease, Done: true}
}

// later is the outcome of a delivery that is to be tried again.
func later(d store.Delivery, next time.Time) store.Outcome {
	return store.Outcome{Mail: d.Mail, N: d.N, Lease: d.Lease, Next: next, Attempts: d.Attempts, Reason: "451 not now"}
}

// all returns what the spool holds.
func (t *spooler) all() []store.Leased {
	t.Helper()
	list, err := t.Deliveries(t.Context(), store.Filter{}, store.Page{Limit: 20_000})
	t.ok(err, "Deliveries")
	return list
}

// holds checks that the spool holds these deliveries of one mail, all of it,
// and its content.
func (t *spooler) holds(m store.Mail, deliveries []store.Delivery, content string) {
	t.Helper()
	m.Size = int64(len(content))
	var got []store.Delivery
	for _, l := range t.all() {
		if l.Delivery.Mail != m.ID {
			continue
		}
		if l.Mail != m {
			t.Errorf("Deliveries:\n got mail %+v\nwant %+v", l.Mail, m)
		}
		got = append(got, l.Delivery)
	}
	t.same(got, deliveries, "Deliveries")
	t.has(m.ID, content)
}

// has checks the content of a mail.
func (t *spooler) has(id, content string) {
	t.Helper()
	body, err := t.Body(t.Context(), id)
	t.ok(err, "Body(%q)", id)
	defer body.Close()
	got, err := io.ReadAll(body)
	t.ok(err, "reading the body of %q", id)
	if string(got) != content {
		t.Errorf("Body(%q): got %d bytes, %.40q, want %d, %.40q", id, len(got), got, len(content), content)
	}
	t.ok(body.Close(), "closing the body of %q", id)
}

// gone checks that nothing is left of a mail.
func (t *spooler) gone(id string) {
	t.Helper()
	_, err := t.Body(t.Context(), id)
	t.fails(err, store.ErrNotFound, "Body(%q)", id)
	for _, l := range t.all() {
		if l.Delivery.Mail == id {
			t.Errorf("Deliveries: still has %+v", l.Delivery)
		}
	}
}

// same compares deliveries.
func (t *spooler) same(got, want []store.Delivery, method string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		t.Errorf("%s: got %d deliveries, want %d\n got %+.3v\nwant %+.3v", method, len(got), len(want), head(got), head(want))
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: delivery %d:\n got %+v\nwant %+v", method, i, got[i], want[i])
		}
	}
}

func head(d []store.Delivery) []store.Delivery { return d[:min(len(d), 3)] }

// deliveriesOf drops the mails and sorts the deliveries by key.
func deliveriesOf(leased []store.Leased) []store.Delivery {
	var all []store.Delivery
	for _, l := range leased {
		all = append(all, l.Delivery)
	}
	slices.SortFunc(all, func(a, b store.Delivery) int {
		return cmp.Or(strings.Compare(a.Mail, b.Mail), cmp.Compare(a.N, b.N))
	})
	return all
}

// mails returns the ID of the mail of each delivery, in order.
func mails(leased []store.Leased) []string {
	var ids []string
	for _, l := range leased {
		ids = append(ids, l.Delivery.Mail)
	}
	return ids
}

// second returns a second handle on the case's data, opened once.
func (t *spooler) second() store.Spool {
	if t.other == nil {
		t.other = t.open()
	}
	return t.other
}

// pattern is size bytes, no eight of which are like others nearby or of
// another size, without being anywhere.
func pattern(size int64) io.Reader {
	return io.LimitReader(&patternReader{seed: uint64(size)}, size)
}

type patternReader struct{ seed, at uint64 }

func (r *patternReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		word := (r.seed<<32 + r.at/8) * 0x9e3779b97f4a7c15
		c := 8
		if r.at%8 == 0 && len(p)-n >= 8 {
			binary.BigEndian.PutUint64(p[n:], word)
		} else {
			b := binary.BigEndian.AppendUint64(nil, word)
			c = copy(p[n:], b[r.at%8:])
		}
		r.at, n = r.at+uint64(c), n+c
	}
	return n, nil
}

// equalStreams reports the first difference of two streams, reading both to
// their ends.
func equalStreams(got, want io.Reader) error {
	a, b := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; {
		n, errA := io.ReadFull(got, a)
		m, errB := io.ReadFull(want, b)
		if !bytes.Equal(a[:n], b[:m]) {
			return fmt.Errorf("other bytes within the %d after %d", max(n, m), at)
		}
		at += int64(n)
		if errB != nil {
			if errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF) {
				return nil
			}
			return fmt.Errorf("after %d bytes: got error %v, want the end", at, errA)
		}
		if errA != nil {
			return fmt.Errorf("after %d bytes: %w", at, errA)
		}
	}
}
