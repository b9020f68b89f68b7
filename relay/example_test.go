package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/smtp"
	"strings"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A whole relay: a tenant's tool logs in and sends, and the message reaches the
// Forwarder.
func Example() {
	ctx := context.Background()
	creds := &credentials.Manager{Store: new(memory.Store)}
	acme := creds.Tenant("acme")
	if _, err := acme.AddDomain(ctx, "acme.example"); err != nil {
		log.Fatal(err)
	}
	user, password, err := acme.AddUser(ctx, "acme.example", "billing")
	if err != nil {
		log.Fatal(err)
	}

	srv := &relay.Server{
		Hostname:    "localhost",
		Credentials: creds,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}},
		Logger:      slog.New(slog.DiscardHandler),
		Forwarder: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
			fmt.Println("from", m.From, "to", m.To[0].Address)
			return nil
		}),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(l)
	defer srv.Close()

	client, err := smtp.Dial(l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	err = errors.Join(
		client.StartTLS(relaytest.ClientTLS()),
		client.Auth(smtp.PlainAuth("", user.Username, password.Reveal(), "127.0.0.1")),
		client.Mail("billing@acme.example"),
		client.Rcpt("bob@example.com"),
	)
	if err != nil {
		log.Fatal(err)
	}
	w, err := client.Data()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(w, "From: billing@acme.example\r\nSubject: Invoice\r\n\r\nHello.\r\n")
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: from billing@acme.example to bob@example.com
}

// A content filter is a Forwarder that hands a copy with another content on.
func ExampleMessage_WithContent() {
	next := relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
		b, err := io.ReadAll(m.Content())
		fmt.Printf("%q\n", b)
		return err
	})
	filter := relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
		b, err := io.ReadAll(m.Content())
		if err != nil {
			return err
		}
		b = bytes.ReplaceAll(b, []byte("http://"), []byte("https://"))
		return next.Forward(ctx, m.WithContent(bytes.NewReader(b), int64(len(b))))
	})

	content := "From: shop@acme.example\r\n\r\nSee http://acme.example.\r\n"
	m := new(relay.Message).WithContent(strings.NewReader(content), int64(len(content)))
	if err := filter.Forward(context.Background(), m); err != nil {
		log.Fatal(err)
	}
	// Output: "From: shop@acme.example\r\n\r\nSee https://acme.example.\r\n"
}

// To split a message in front of a queue, give each copy an ID of its own. A
// queue refuses two different messages of one ID.
func ExampleMessage_WithRecipients() {
	next := relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error { // a *queue.Queue, say
		fmt.Println(m.To[0].Address, len(m.ID))
		return nil
	})
	split := relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
		for i := range m.To {
			c := m.WithRecipients(m.To[i : i+1])
			c.ID = relay.NewID()
			if err := next.Forward(ctx, c); err != nil {
				return err // the client sends all of it again, to the first recipients too
			}
		}
		return nil
	})

	m := &relay.Message{ID: relay.NewID(), To: []relay.Recipient{{Address: "a@example.com"}, {Address: "b@example.com"}}}
	if err := split.Forward(context.Background(), m); err != nil {
		log.Fatal(err)
	}
	// Output:
	// a@example.com 26
	// b@example.com 26
}

// AllowSender adds a condition to the exact-domain rule.
func ExampleServer_allowSender() {
	srv := &relay.Server{
		AllowSender: func(_ context.Context, r *relay.PolicyRequest) error {
			if strings.HasPrefix(r.Address, "ceo@") {
				return &relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: "tools do not write as the CEO"}
			}
			return nil
		},
	}
	for _, addr := range []string{"shop@acme.example", "ceo@acme.example"} {
		r := &relay.PolicyRequest{Field: relay.FieldFrom, Address: addr}
		fmt.Println(srv.AllowSender(context.Background(), r))
	}
	// Output:
	// <nil>
	// relay: 550 5.7.1 tools do not write as the CEO
}

// ReplaceExactDomain takes the place of the exact-domain rule, here to let users
// send from one subdomain too.
func ExampleServer_replaceExactDomain() {
	srv := &relay.Server{
		ReplaceExactDomain: func(ctx context.Context, r *relay.PolicyRequest) error {
			if strings.HasSuffix(r.Address, "@mail."+r.Identity.Domain) {
				return nil
			}
			return relay.ExactDomain(ctx, r)
		},
	}
	acme := relay.Client{Identity: credentials.Identity{Domain: "acme.example"}}
	for _, addr := range []string{"news@mail.acme.example", "news@old.acme.example"} {
		fmt.Println(srv.ReplaceExactDomain(context.Background(), &relay.PolicyRequest{Client: acme, Address: addr}))
	}
	// Output:
	// <nil>
	// relay: 550 5.7.1 domain old.acme.example is not allowed, this user sends from acme.example only
}
