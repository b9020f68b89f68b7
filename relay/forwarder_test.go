package relay_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
)

// An address with a line break does not add a line to the log.
func TestRefusedErrorIsOneLine(t *testing.T) {
	err := &relay.RefusedError{Recipients: []relay.RefusedRecipient{
		{Address: "a\r\n@example.com", Err: errors.New("no")},
		{Address: "b@example.com", Err: errors.New("nor this")},
	}}
	if got, want := err.Error(), `relay: refused "a\r\n@example.com": no; "b@example.com": nor this`; got != want {
		t.Errorf("Error returned\n%s, want\n%s", got, want)
	}
}

func TestTemporary(t *testing.T) {
	_, refused := net.Dial("tcp", "127.0.0.1:1")
	final := &relay.ReplyError{Code: 550}
	later := &relay.ReplyError{Code: 450}
	both := &relay.RefusedError{Recipients: []relay.RefusedRecipient{{Err: final}, {Err: later}}}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{errors.New("disk failure"), true},
		{context.Canceled, true},
		{context.DeadlineExceeded, true},
		{refused, true}, // its own Temporary method returns false
		{fmt.Errorf("upstream: %w", refused), true},
		{&net.DNSError{IsNotFound: true}, true},
		{net.ErrClosed, true},
		{final, false},
		{fmt.Errorf("upstream: %w", final), false},
		{later, true},
		{both, true},
		{&relay.RefusedError{Recipients: both.Recipients[:1]}, false},
	} {
		if got := relay.Temporary(test.err); got != test.want {
			t.Errorf("Temporary(%v) = %v, want %v", test.err, got, test.want)
		}
	}
}

func TestUnreachable(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"any error", errors.New("disk failure"), false},
		{"connection refused", fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), true},
		{"421", &relay.ReplyError{Code: 421}, false},
		{"451", &relay.ReplyError{Code: 451}, false},
		{"550", &relay.ReplyError{Code: 550}, false},
		{"a method that says true", fmt.Errorf("wrapped: %w", reachability(true)), true},
		{"a method that says false", reachability(false), false},
	} {
		if got := relay.Unreachable(test.err); got != test.want {
			t.Errorf("Unreachable of %s = %v, want %v", test.name, got, test.want)
		}
	}
}

type reachability bool

func (r reachability) Error() string     { return "upstream failure" }
func (r reachability) Unreachable() bool { return bool(r) }
