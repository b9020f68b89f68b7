package relay_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
)

func TestTemporary(t *testing.T) {
	_, refused := net.Dial("tcp", "127.0.0.1:1")
	final := &relay.ReplyError{Code: 550}
	later := &relay.ReplyError{Code: 450}
	both := &relay.RefusedError{Recipients: []relay.RefusedRecipient{{Err: final}, {Err: later}}}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{errors.New("whatever"), true},
		{context.Canceled, true},
		{context.DeadlineExceeded, true},
		{refused, true}, // package net says that it is not
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
			t.Errorf("%v: temporary is %v, want %v", test.err, got, test.want)
		}
	}
}
