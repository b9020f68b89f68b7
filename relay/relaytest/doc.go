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
//
// Wait is as Messages, for code that sends in the background. [Relay.Send] sends a
// message through the relay, for tests of your own Forwarder and policy:
//
//	r := relaytest.NewUnstartedRelay(t)
//	out := new(relaytest.Recorder) // what leaves the Forwarder under test
//	r.Server.Forwarder = &footer{Next: out}
//	r.Start()
//	err := r.Send("shop@acme.example", []string{"bob@example.com"}, "From: shop@acme.example\n\nHello.\n")
//	if err != nil {
//		t.Fatal(err)
//	}
//	before, after := r.Messages()[0].Data, out.Messages()[0].Data
//
// An [Upstream] is the server that a relay hands its mail to. It accepts
// everything and remembers it:
//
//	up := &relaytest.Upstream{}
//	up.Start()
//	defer up.Close()
//
//	f := &smarthost.Forwarder{Addr: up.Addr(), TLSConfig: up.ClientTLS()}
//	…
//	for _, d := range up.Wait(t, 1) {
//		fmt.Println(d.From, d.To, len(d.Content))
//	}
//
// Close and another Start make an outage. The address stays the same, so the
// program under test keeps it:
//
//	up.Close()
//	… // mail waits
//	up.Start()
//	… // mail arrives
//
// A Script makes it misbehave. The Script gets each command before the reply, and
// may choose the reply, wait, or close the connection:
//
//	up := &relaytest.Upstream{
//		Script: func(c relaytest.Command) relaytest.Answer {
//			switch {
//			case c.Line == "RCPT TO:<nobody@example.com>":
//				return relaytest.Answer{Text: "550 5.1.1 No such user"}
//			case c.Verb == relaytest.EndOfData:
//				return relaytest.Answer{Close: true} // did it get the message?
//			}
//			return relaytest.Answer{} // the ordinary answer
//		},
//	}
package relaytest
