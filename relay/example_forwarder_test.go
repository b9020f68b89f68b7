package relay_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/gatepost-mail/gatepost/relay"
)

// An archive is a Forwarder that wraps the next one. It keeps a copy of each
// message that the next one has taken.
type archive struct {
	Next relay.Forwarder
	Keep func(id string, content []byte)
}

// Forward implements relay.Forwarder.
func (a *archive) Forward(ctx context.Context, m *relay.Message) error {
	content, err := io.ReadAll(m.Content()) // before Next takes the message: an error here still refuses it
	if err != nil {
		return err // the client is told 451 and tries again
	}
	m = m.Prepend([]byte("Archived-At: <https://archive.example/" + m.ID + ">\r\n"))
	if err := a.Next.Forward(ctx, m); err != nil {
		return err // the answer of Next is the client's answer
	}
	a.Keep(m.ID, content)
	return nil
}

// A Forwarder of one's own wraps the next one: a queue, a signer, an upstream.
func ExampleForwarder() {
	next := relay.ForwarderFunc(func(_ context.Context, m *relay.Message) error { // in production a *queue.Queue
		fmt.Println("delivered", m.Size(), "bytes")
		return nil
	})
	f := &archive{Next: next, Keep: func(id string, content []byte) { fmt.Println("kept", id, len(content), "bytes") }}

	content := "From: shop@acme.example\r\n\r\nHello.\r\n"
	m := (&relay.Message{ID: "A1"}).WithContent(strings.NewReader(content), int64(len(content)))
	if err := f.Forward(context.Background(), m); err != nil {
		log.Fatal(err)
	}
	// Output:
	// delivered 78 bytes
	// kept A1 35 bytes
}
