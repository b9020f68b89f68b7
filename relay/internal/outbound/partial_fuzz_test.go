package outbound

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
)

// For any replies of a server, each recipient of a partial message is either taken
// or refused, once.
func FuzzPartial(f *testing.F) {
	const hello = "220 hi\r\n250-host\r\n250 PIPELINING\r\n"
	for _, s := range []string{
		hello + "250 a\r\n250 b\r\n550 c\r\n452 d\r\n354 go\r\n250 done\r\n250 a\r\n250 d\r\n354 go\r\n250 done\r\n",
		hello + "250 a\r\n250 b\r\n452 c\r\n452 d\r\n554 no\r\n250 reset\r\n250 a\r\n250 b\r\n354 go\r\n250 done\r\n250 a\r\n250 c\r\n354 go\r\n450 no\r\n",
		hello + "250 a\r\n550 b\r\n421 bye\r\n", hello + "450 a\r\n", hello + "250 a\r\n550 b\r\n550 c\r\n550 d\r\n250 reset\r\n",
		"220 hi\r\n250-host\r\n250 LIMITS RCPTMAX=1\r\n250 a\r\n250 b\r\n354 go\r\n250 done\r\n250 a\r\n250 b\r\n354 go\r\n",
		"220 hi\r\n250-host\r\n250 CHUNKING\r\n250 a\r\n250 b\r\n250 c\r\n250 d\r\n502 what\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		m := letter(fuzzContent, "b@example.com", "c@example.com", "d@example.com")
		m.Partial = true
		outcomes := make(map[string]string)
		settle := func(addr, what string) {
			if outcomes[addr] != "" {
				t.Errorf("%s was %s, and %s", addr, outcomes[addr], what)
			}
			outcomes[addr] = what
		}
		m.OnDelivered = func(h relay.NextHop) {
			for _, addr := range h.Recipients {
				settle(addr, "taken")
			}
		}
		_, err := deliver(&Dialer{TLS: None, Hostname: "relay.example"}, says, m)
		var refused *relay.RefusedError
		switch {
		case errors.As(err, &refused) && refused.Partial:
			for _, r := range refused.Recipients {
				settle(r.Address, fmt.Sprint("refused: ", r.Err))
			}
		case err != nil:
			if len(outcomes) > 0 {
				t.Errorf("%v, but taken for %v", err, outcomes)
			}
			return
		}
		if len(outcomes) != 3 {
			t.Errorf("%d recipients have an outcome: %v", len(outcomes), outcomes)
		}
	})
}
