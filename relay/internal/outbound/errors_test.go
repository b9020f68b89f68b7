package outbound_test

import (
	"errors"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/internal/outbound"
)

func TestUnreachable(t *testing.T) {
	for _, test := range []struct {
		name string
		err  outbound.Error
		want bool
	}{
		{"nobody there", outbound.Error{Step: outbound.Connect, Err: errors.New("refused"), Lost: true}, true},
		{"login refused", outbound.Error{Step: outbound.Auth, Err: errors.New("535")}, true},
		{"line dropped in the middle", outbound.Error{Step: outbound.Data, Err: errors.New("EOF"), Lost: true}, false},
		{"line dropped at the content", outbound.Error{Step: outbound.End, Err: errors.New("EOF"), Lost: true}, false},
		{"421 in the middle", outbound.Error{Step: outbound.Rcpt, Err: errors.New("421"), Lost: true, Closing: true}, false},
		{"421 to the content", outbound.Error{Step: outbound.End, Err: errors.New("421"), Lost: true, Closing: true}, false},
		{"sender refused", outbound.Error{Step: outbound.Mail, Err: &relay.ReplyError{Code: 451}}, false},
		{"content refused", outbound.Error{Step: outbound.End, Err: &relay.ReplyError{Code: 554}}, false},
	} {
		if got := test.err.Unreachable(); got != test.want {
			t.Errorf("%s: Unreachable is %v, want %v", test.name, got, test.want)
		}
	}
}
