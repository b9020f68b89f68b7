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
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A ReplyError is what the client is told, from a Forwarder as here or from a
// policy function. The text of any other error is
// logged, and the client does not see it.
func ExampleReplyError() {
	srv := &relay.Server{
		Forwarder: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
			content, err := io.ReadAll(m.Content())
			if err != nil {
				return err
			}
			if bytes.Contains(content, []byte("EICAR")) {
				return &relay.ReplyError{Code: 550, Enhanced: "5.7.1", Text: "the virus scanner found EICAR"}
			}
			return errors.New("dial tcp 10.0.0.7:25: connection refused")
		}),
	}
	client := dialExample(srv)
	defer srv.Close()
	fmt.Println(client.send("shop@acme.example", "EICAR"))
	fmt.Println(client.send("shop@acme.example", "Hello"))
	// Output:
	// 550 "5.7.1 the virus scanner found EICAR"
	// 451 "4.3.0 not possible right now, try again later"
}

// A product suspends a customer with AllowUser, which is asked at MAIL. The server
// itself suspends users and domains, with credentials.Tenant.SuspendUser and
// SuspendDomain. Keep the suspended customers in memory, or in a cache: AllowUser is
// called for each message.
func ExampleServer_allowUser() {
	suspended := map[string]string{"acme": "the bill of May is unpaid"}
	srv := &relay.Server{
		AllowUser: func(_ context.Context, r *relay.PolicyRequest) error {
			if why, ok := suspended[string(r.Identity.Tenant)]; ok {
				return &relay.ReplyError{Code: 550, Enhanced: "5.7.13", Text: "sending is suspended: " + why}
			}
			return nil
		},
	}
	client := dialExample(srv)
	defer srv.Close()
	fmt.Println(client.send("shop@acme.example", "Hello"))
	delete(suspended, "acme")
	fmt.Println(client.send("shop@acme.example", "Hello"))
	// Output:
	// 550 "5.7.13 sending is suspended: the bill of May is unpaid"
	// <nil>
}

// Submit sends mail of the product itself, such as an HTTP API takes from customers.
// It needs no connection and no password.
func ExampleServer_Submit() {
	ctx := context.Background()
	creds := &credentials.Manager{Store: new(memory.Store)}
	acme := creds.Tenant("acme")
	_, err := acme.AddDomain(ctx, "acme.example")
	user, _, err2 := acme.AddUser(ctx, "acme.example", "API")
	if err := errors.Join(err, err2); err != nil {
		log.Fatal(err)
	}
	srv := &relay.Server{
		Hostname:    "smtp.example.com",
		Credentials: creds,
		Forwarder: relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error {
			fmt.Println("from", m.From, "to", m.To[0].Address)
			return nil
		}),
		Logger: slog.New(slog.DiscardHandler),
	}
	defer srv.Close()

	for _, from := range []string{"shop@acme.example", "shop@other.example"} {
		_, err := srv.Submit(ctx, relay.Submission{
			Identity: credentials.IdentityOf(user),
			From:     from,
			To:       []string{"bob@example.com"},
			Content:  strings.NewReader("From: " + from + "\nTo: bob@example.com\nSubject: Your order\n\nThank you.\n"),
		})
		var refused *relay.ReplyError
		if errors.As(err, &refused) {
			fmt.Println(refused.Code, refused.Text) // what an SMTP client is told
		}
	}
	// Output:
	// from shop@acme.example to bob@example.com
	// 550 Submission.From: domain other.example is not allowed, this user sends from acme.example only
}

// OnEvent shows customers what happens to their mail, and feeds counters.
func ExampleServer_onEvent() {
	srv := &relay.Server{
		OnEvent: func(e relay.Event) {
			switch e := e.(type) {
			case *relay.LoggedIn:
				fmt.Println(e.Identity.Tenant, "logged in over", e.TLS)
			case *relay.MessageAccepted:
				fmt.Println("accepted from", e.From, "to", e.To[0].Address)
			case *relay.MessageRefused:
				fmt.Println("refused:", e.Code, e.Reason)
			}
		},
	}
	client := dialExample(srv)
	client.send("shop@acme.example", "Hello")
	client.send("shop@other.example", "Hello")
	client.Quit()
	srv.Shutdown(context.Background()) // every event has been seen when it returns
	// Output:
	// acme logged in over TLS 1.3
	// accepted from shop@acme.example to bob@example.com
	// refused: 550 MAIL FROM: domain other.example is not allowed, this user sends from acme.example only
}

// Shutdown lets messages in progress finish, tells idle clients 421, and returns
// when the last connection is gone. Close ends what takes too long.
func ExampleServer_Shutdown() {
	srv := &relay.Server{Hostname: "localhost"}
	client := dialExample(srv)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Println("messages in progress were cut off:", err)
		srv.Close()
	}
	line, err := client.Text.ReadLine()
	fmt.Println(line, err)
	fmt.Println(srv.ListenAndServe("127.0.0.1:0"))
	// Output:
	// 421 4.3.2 closing the connection, try again later <nil>
	// relay: server closed
}

// An exampleClient is logged in as a user of acme.example.
type exampleClient struct{ *smtp.Client }

// dialExample fills in what srv lacks, starts it and logs in to it.
func dialExample(srv *relay.Server) exampleClient {
	ctx := context.Background()
	srv.Credentials = &credentials.Manager{Store: new(memory.Store)}
	srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}}
	srv.Logger = slog.New(slog.DiscardHandler)
	if srv.Forwarder == nil {
		srv.Forwarder = relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil })
	}
	acme := srv.Credentials.Tenant("acme")
	_, err := acme.AddDomain(ctx, "acme.example")
	user, password, err2 := acme.AddUser(ctx, "acme.example", "shop")
	l, err3 := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(err, err2, err3); err != nil {
		log.Fatal(err)
	}
	go srv.Serve(l)
	c, err := smtp.Dial(l.Addr().String())
	if err == nil {
		err = errors.Join(c.StartTLS(relaytest.ClientTLS()), c.Auth(smtp.PlainAuth("", user.Username, password.Reveal(), "127.0.0.1")))
	}
	if err != nil {
		log.Fatal(err)
	}
	return exampleClient{c}
}

// send sends a message to bob@example.com. The error is what the server replied.
func (c exampleClient) send(from, subject string) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt("bob@example.com"); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "From: %s\nSubject: %s\n\nHello.\n", from, subject)
	return w.Close()
}
