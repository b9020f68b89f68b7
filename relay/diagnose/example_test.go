package diagnose_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/diagnose"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A tool is set to an old password. The page of the product says so.
func ExampleCheck() {
	ctx := context.Background()
	quiet := slog.New(slog.DiscardHandler)
	creds := &credentials.Manager{Store: new(memory.Store), Logger: quiet}
	acme := creds.Tenant("acme")
	_, err := acme.AddDomain(ctx, "acme.example")
	user, old, err2 := acme.AddUser(ctx, "acme.example", "shop")
	_, err3 := acme.ResetPassword(ctx, user.Username)
	l, err4 := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(err, err2, err3, err4); err != nil {
		log.Fatal(err)
	}
	srv := &relay.Server{
		Hostname: "localhost", Credentials: creds, Logger: quiet,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{relaytest.Certificate()}},
		Forwarder: relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil }),
	}
	go srv.Serve(l)
	defer srv.Close()

	steps := diagnose.Check(ctx, diagnose.Target{
		Host:      "localhost",
		Port:      l.Addr().(*net.TCPAddr).Port, // 587, in production
		Username:  user.Username,
		Password:  old,
		From:      "shop@acme.example",
		TLSConfig: relaytest.ClientTLS(), // nil, in production
	})
	for _, step := range steps {
		fmt.Println(step.Name, step.OK)
	}
	last := steps[len(steps)-1]
	fmt.Println(last.Detail)
	fmt.Println(last.Advice)
	// Output:
	// resolve true
	// connect true
	// greeting true
	// tls true
	// certificate true
	// auth false
	// The server refused the login: 535 5.7.8 username or password is wrong
	// Copy the username and the password again, without blanks around them. If the password was reset, the old one does not work any more. If it is lost, reset it and enter the new one. If the user may log in from certain networks only, this check fails elsewhere although the password is right.
}
