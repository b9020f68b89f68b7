package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Grant names a part of a limit that one node may use up. The node that makes it
// chooses its ID.
type Grant struct {
	ID     string    // letters and digits, at most 64; never used for another grant
	Scope  string    // which limit, such as "month/tenant/acme"; package relay/limits has the names
	Period time.Time // when the period of the limit began
}

// A Charge moves recipients from a grant to what is used.
type Charge struct {
	Grant
	N int64
}

// A Usage says how much of a limit is used in a period.
type Usage struct {
	Scope  string
	Period time.Time

	Used int64 // charged
	Held int64 // in grants: accepted and not charged yet, or not used yet

	// Noticed is the percentage of NoticedMax that was told last. Both are zero if
	// none was.
	Noticed    int
	NoticedMax int64
}

// A Reservation asks for a part of a limit.
type Reservation struct {
	Grant

	// Want is how many more recipients the grant shall hold, and Max is the limit.
	// Want may be 0.
	Want, Max int64

	// Used is the least that the usage has after the step. A usage that has less Used
	// gets it, and so does one that is not there yet.
	Used int64

	// Until is when the grant ends. A node must not use it after that, and all that
	// it has used must be recorded by then.
	Until time.Time

	// Ended is a time at which grants have ended for sure, by the clock of every
	// node: so it is somewhat before the present.
	Ended time.Time

	// Forget removes usages of the scope, with their grants, whose Period is before
	// it. It counts only for the reservation that begins a period.
	Forget time.Time
}

// Reserved is the answer to a [Reservation].
type Reserved struct {
	Given int64 // how many recipients were added to the grant
	Mine  int64 // how many the grant holds now
	Usage Usage // after the step
}

// An Allowances is a [History] that keeps how much of limits is used. Nodes reserve a
// part of a limit at a time, as a grant, and use it up without asking again. An event
// of kind [EventAccepted] names the grants that its recipient is taken from, and so the
// step that keeps a message is the one that uses them up. Apply charges them: it adds
// each Charge to Used of its scope and period, and takes it from the grant, which
// never becomes less than 0. If the usage or the grant is not there, the other one
// is still changed, and a usage that is not there is made.
//
// What is said of a History about atomic, durable and concurrent methods, contexts,
// times and texts holds here too.
type Allowances interface {
	History

	// Reserve adds recipients to a grant, which is made if it is not there, and sets
	// its Until. It gives as many of Want as Max leaves: Used and Held together
	// never become more than Max. What they are above Max already stays.
	//
	// Before that it drops the grants of the scope and period whose Until is before
	// Ended and before every record that waits. Nothing will be charged to them any
	// more, so what they hold was not used.
	Reserve(ctx context.Context, r Reservation) (Reserved, error)

	// Release takes n recipients from a grant, which never becomes less than 0. If
	// there is no such grant it does nothing.
	Release(ctx context.Context, g Grant, n int64) error

	// Usages returns the usages of a scope, by period. A scope that nothing was
	// reserved of has none.
	Usages(ctx context.Context, scope string) ([]Usage, error)

	// SetNoticed sets Noticed and NoticedMax of a usage. If they have the same
	// NoticedMax, the greater Noticed stays. ErrNotFound: there is no such usage.
	SetNoticed(ctx context.Context, scope string, period time.Time, percent int, max int64) error

	// ExpireUsages removes usages of all scopes, with their grants, whose Period is before
	// a time: at most limit of them. It returns how many it removed.
	ExpireUsages(ctx context.Context, before time.Time, limit int) (removed int, err error)
}

var (
	escaper   = strings.NewReplacer("%", "%25", " ", "%20", ";", "%3B")
	unescaper = strings.NewReplacer("%25", "%", "%20", " ", "%3B", ";")
)

// FormatGrants returns the Grants of an [Event]: those of each grant, with a semicolon in
// between.
func FormatGrants(grants []Grant) string {
	var b strings.Builder
	for i, g := range grants {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString(g.ID + " " + strconv.FormatInt(g.Period.UnixMicro(), 36) + " " + escaper.Replace(g.Scope))
	}
	return b.String()
}

// ParseGrants returns the grants that the Grants of an [Event] names. It returns an error
// if a grant's ID does not have 1 to 64 letters and digits, or if its Scope is longer than
// 1,024 bytes, is not valid UTF-8 or contains U+0000.
func ParseGrants(text string) (grants []Grant, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ";") {
		fields := strings.Split(part, " ")
		if len(fields) != 3 {
			return nil, fmt.Errorf("store: %q does not name a grant", part)
		}
		period, err := strconv.ParseInt(fields[1], 36, 64)
		g := Grant{ID: fields[0], Scope: unescaper.Replace(fields[2]), Period: time.UnixMicro(period).UTC()}
		if err != nil || !g.valid() {
			return nil, fmt.Errorf("store: %q does not name a grant", part)
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// valid reports whether every adapter takes the ID and the scope.
func (g *Grant) valid() bool {
	for _, c := range []byte(g.ID) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return g.ID != "" && len(g.ID) <= 64 && len(g.Scope) <= 1024 && utf8.ValidString(g.Scope) && !strings.Contains(g.Scope, "\x00")
}
