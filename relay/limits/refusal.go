package limits

import (
	"fmt"
	"strconv"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// usedUp returns the reply to a client of which no recipient would be accepted, as far as
// this process knows; nil if it does not know.
func (a *allowance) usedUp(limit Limit) error { return a.usedUpFor(limit, 1) }

// usedUpFor returns the reply to a message with n recipients if a limit leaves fewer for
// the rest of the period.
func (a *allowance) usedUpFor(limit Limit, n int64) error {
	begin, end := limit.Period(time.Now())
	a.mu.Lock()
	known := int64(0)
	if a.period.Equal(begin) {
		known = a.known
		a.asked = limit // so that Run tells it, even if the limit was gone for a while
	}
	a.mu.Unlock()
	if known+n <= limit.Max {
		return nil
	}
	text := fmt.Sprintf("%s is used up (%s of %s)", limit.text(), number(known), number(limit.Max))
	if known < limit.Max {
		text = fmt.Sprintf("%s leaves %s, and the message has %s", limit.text(), number(limit.Max-known), number(n))
	}
	text += "; it begins anew " + moment(end)
	if limit.Interval == Hourly {
		return &relay.ReplyError{Code: 451, Enhanced: "4.7.1", Text: text}
	}
	return &relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: text}
}

// heldElsewhere returns the reply to a message for which the rest of a limit is held by
// messages that are in progress and by other processes.
func heldElsewhere(limit Limit) error {
	return &relay.ReplyError{Code: 451, Enhanced: "4.7.1", Text: limit.text() + " is almost used up, and other messages hold the rest of it; try again later"}
}

// tooMany returns the reply to a message that has more recipients than the limit.
func tooMany(limit Limit, n int64) error {
	text := fmt.Sprintf("%s does not allow a message with %s", limit.text(), number(n))
	return &relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: text}
}

// text names a limit, such as "the monthly limit of 10,000 recipients".
func (l Limit) text() string {
	text := fmt.Sprintf("the %s limit of %s recipients", adjectives[l.Interval], number(l.Max))
	switch l.Scope {
	case PerDomain:
		text += " of this domain"
	case PerUser:
		text += " of this user"
	}
	return text
}

// moment returns when a period begins, for a reply: the day, and the time unless that is
// midnight.
func moment(t time.Time) string {
	if h, m, _ := t.Clock(); h == 0 && m == 0 {
		return t.Format("on 2 January 2006")
	}
	return t.Format("on 2 January 2006 at 15:04 -0700")
}

// number returns a number with a comma after thousands.
func number(n int64) string {
	if n < 0 {
		return "-" + number(-n)
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
