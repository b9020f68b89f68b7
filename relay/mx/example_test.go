package mx_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/mx"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// In a test, a resolver and a port of its own lead to an upstream on this machine.
// In production, Hostname is all that is needed.
func ExampleForwarder() {
	up := &relaytest.Upstream{}
	up.Start()
	defer up.Close()
	_, port, _ := net.SplitHostPort(up.Addr())
	n, _ := strconv.Atoi(port)

	out := &mx.Forwarder{
		Hostname:  "mail.acme.example",
		Resolver:  mailFor("mx1.example.com", "mx2.example.com"),
		Port:      n,
		AllowAddr: netip.Addr.IsLoopback,
	}
	defer out.Close()

	content := "From: shop@acme.example\r\nSubject: Your order\r\n\r\nThank you.\r\n"
	m := &relay.Message{
		From: "shop@acme.example",
		To:   []relay.Recipient{{Address: "bob@example.com"}},
		OnDelivered: func(d relay.NextHop) {
			fmt.Println(d.Host, "replied", d.Reply)
		},
	}
	m = m.WithContent(strings.NewReader(content), int64(len(content)))
	if err := out.Forward(context.Background(), m); err != nil {
		fmt.Println(err)
	}

	// The domain says that it takes no mail.
	m.To = []relay.Recipient{{Address: "bob@quiet.example"}}
	out.Resolver.(*zone).mx["quiet.example"] = []string{"0 ."}
	err := out.Forward(context.Background(), m)
	fmt.Println(err)
	fmt.Println("try again later:", relay.Temporary(err))
	// Output:
	// mx1.example.com replied 250 2.0.0 Accepted
	// mx: relay: 556 5.1.10 the domain quiet.example takes no mail (null MX)
	// try again later: false
}

// A queue with Destination splits a message up by domain.
func ExampleDestination() {
	up := &relaytest.Upstream{}
	up.Start()
	defer up.Close()
	_, port, _ := net.SplitHostPort(up.Addr())
	n, _ := strconv.Atoi(port)

	z := mailFor("mx.example.com")
	z.mx["xn--bcher-kva.example"] = []string{"10 mx.example.com."}
	out := &mx.Forwarder{Hostname: "mail.acme.example", Resolver: z, Port: n, AllowAddr: netip.Addr.IsLoopback}
	defer out.Close()

	q := &queue.Queue{Spool: new(memory.Store), Next: out, Destination: mx.Destination}
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	go q.Run(ctx)

	content := "From: shop@acme.example\r\nSubject: News\r\n\r\nNews.\r\n"
	m := &relay.Message{ID: "m1", From: "shop@acme.example", Received: time.Now().UTC(), To: []relay.Recipient{
		{Address: "bob@example.com"}, {Address: "eve@bücher.example"}, {Address: "alice@EXAMPLE.com"},
	}}
	m = m.WithContent(strings.NewReader(content), int64(len(content)))
	if err := q.Forward(ctx, m); err != nil {
		fmt.Println(err)
	}
	for len(up.Received()) < 2 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}

	var lines []string
	for _, d := range up.Received() {
		var to []string
		for _, r := range d.To {
			to = append(to, r.Address)
		}
		lines = append(lines, strings.Join(to, " and "))
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
	// Output:
	// bob@example.com and alice@EXAMPLE.com
	// eve@bücher.example
}
