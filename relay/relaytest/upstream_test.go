package relaytest_test

import (
	"fmt"
	"net/smtp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// net/smtp can send to it, and it records the message.
func TestUpstream(t *testing.T) {
	up := &relaytest.Upstream{Username: "user", Password: "secret"}
	up.Start()
	defer up.Close()
	c, err := smtp.Dial(up.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	content := "Subject: x\r\n\r\n.\r\n..dots\r\n" + strings.Repeat("x", 100_000) + "\r\n"
	if err := c.Mail("a@example.org"); err == nil {
		t.Error("MAIL without a login was accepted")
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(c.StartTLS(up.ClientTLS()))
	do(c.Auth(smtp.PlainAuth("", "user", "secret", "127.0.0.1")))
	do(c.Mail("a@example.org"))
	do(c.Rcpt("b@example.com"))
	w, err := c.Data()
	do(err)
	_, err = w.Write([]byte(content))
	do(err)
	do(w.Close())
	do(c.Quit())

	got := up.Received()
	if len(got) != 1 {
		t.Fatalf("%d received", len(got))
	}
	d := got[0]
	if d.From != "a@example.org" || len(d.To) != 1 || d.To[0].Address != "b@example.com" || d.Username != "user" ||
		d.TLS == nil || d.Hello != "localhost" || d.Chunked || !slices.Contains(d.Params, "BODY=8BITMIME") {
		t.Errorf("%+v", d)
	}
	if string(d.Content) != content {
		t.Errorf("%d bytes, not %d", len(d.Content), len(content))
	}
}

// Close ends everything, however long the script wants to wait, and a second one
// does nothing.
func TestUpstreamClose(t *testing.T) {
	up := &relaytest.Upstream{Script: func(relaytest.Command) relaytest.Answer {
		return relaytest.Answer{Wait: time.Hour}
	}}
	up.Start()
	failed := make(chan error)
	go func() {
		_, err := smtp.Dial(up.Addr())
		failed <- err
	}()
	for made, _ := up.Connections(); made == 0; made, _ = up.Connections() {
		time.Sleep(time.Millisecond)
	}
	up.Close()
	up.Close()
	if <-failed == nil {
		t.Error("a client was greeted")
	}
}

// A chosen address serves programs that can't be told a port.
func TestUpstreamListen(t *testing.T) {
	free := new(relaytest.Upstream)
	free.Start()
	addr := free.Addr()
	free.Close()
	up := &relaytest.Upstream{Listen: addr, NoTLS: true}
	up.Start()
	defer up.Close()
	if up.Addr() != addr {
		t.Errorf("it listens on %s, want %s", up.Addr(), addr)
	}
	if err := smtp.SendMail(addr, nil, "a@example.org", []string{"b@example.com"}, []byte("x\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := up.Wait(t, 1); len(got) != 1 {
		t.Errorf("got %d messages, want 1", len(got))
	}
}

// It comes back at its address, as often as it goes down, and remembers what it
// had accepted.
func TestUpstreamRestart(t *testing.T) {
	up := relaytest.Upstream{NoTLS: true} // net/smtp wants TLS where it is offered
	up.Close()                            // it never ran
	up.Start()
	addr := up.Addr()
	send := func() error {
		return smtp.SendMail(addr, nil, "a@example.org", []string{"b@example.com"}, []byte("x\r\n"))
	}
	for round := range 3 {
		up.Close()
		up.Close()
		if err := send(); err == nil {
			t.Fatalf("round %d: it took mail while it was closed", round)
		}
		up.Start()
		if got := up.Addr(); got != addr {
			t.Fatalf("round %d: it listens on %s, before on %s", round, got, addr)
		}
		if err := send(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	up.Close()
	if got := up.Received(); len(got) != 3 || got[0].Conn == got[2].Conn {
		t.Errorf("received: %+v", got)
	}
}

func TestUpstreamMisuse(t *testing.T) {
	running := new(relaytest.Upstream)
	running.Start()
	defer running.Close()
	for _, test := range []struct {
		name, want string
		f          func()
	}{
		{"a second Start", "relaytest: the Upstream was started already", running.Start},
		{"Addr before Start", "relaytest: an Upstream has no address before Start", func() { new(relaytest.Upstream).Addr() }},
	} {
		func() {
			defer func() {
				if got := recover(); got != test.want {
					t.Errorf("%s: panicked with %v, want %q", test.name, got, test.want)
				}
			}()
			test.f()
		}()
	}
}

func ExampleUpstream() {
	up := &relaytest.Upstream{
		NoTLS: true,
		Script: func(c relaytest.Command) relaytest.Answer {
			if c.Line == "RCPT TO:<nobody@example.com>" {
				return relaytest.Answer{Text: "550 5.1.1 There is no such user here"}
			}
			return relaytest.Answer{}
		},
	}
	up.Start()
	defer up.Close()

	for _, to := range []string{"nobody@example.com", "bob@example.com"} {
		err := smtp.SendMail(up.Addr(), nil, "shop@acme.example", []string{to}, []byte("Subject: Hi\r\n\r\nHi.\r\n"))
		fmt.Println(to, err)
	}
	for _, d := range up.Received() {
		fmt.Printf("%s: %q\n", d.To[0].Address, d.Content)
	}
	// Output:
	// nobody@example.com 550 "5.1.1 There is no such user here"
	// bob@example.com <nil>
	// bob@example.com: "Subject: Hi\r\n\r\nHi.\r\n"
}

// An outage: Close begins it, and Start ends it at the same address.
func ExampleUpstream_Close() {
	up := &relaytest.Upstream{NoTLS: true}
	up.Start()
	defer up.Close()
	send := func() error {
		return smtp.SendMail(up.Addr(), nil, "shop@acme.example", []string{"bob@example.com"}, []byte("Subject: Hi\r\n\r\nHi.\r\n"))
	}

	up.Close()
	fmt.Println("down:", send() != nil)
	up.Start()
	fmt.Println("back:", send())
	fmt.Println("arrived:", len(up.Received()))
	// Output:
	// down: true
	// back: <nil>
	// arrived: 1
}
