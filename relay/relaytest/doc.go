// Package relaytest is for the tests of programs that embed a relay, or that
// send through one, as [net/http/httptest] is for programs that speak HTTP.
//
// [NewRelay] starts a real relay in memory, in one line:
//
//	r := relaytest.NewRelay(t)
//	sendWelcomeMail(r.Addr, r.Username, r.Password) // the code under test
//	if got := r.Messages(); len(got) != 1 {
//		t.Errorf("%d messages were sent, want 1", len(got))
//	}
package relaytest
