package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func ExampleSender() {
	// The server of a customer.
	secret := credentials.NewPassword("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	done := make(chan bool)
	customer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil || verify(r.Header, body, secret.Reveal(), time.Now()) != nil {
			http.Error(w, "not verified", http.StatusBadRequest)
			return
		}
		fmt.Println(r.Header.Get("webhook-id"))
		fmt.Println(string(body))
		w.WriteHeader(http.StatusNoContent)
		close(done)
	}))
	defer customer.Close()

	hooks := &webhook.Sender{
		Queue: queue.Queue{Spool: new(memory.Store)}, // a store of its own; on SQL with another TablePrefix
		Endpoints: func(context.Context, store.TenantID) ([]webhook.Endpoint, error) {
			return []webhook.Endpoint{{ // yours: from the table of your product
				ID: "crm", URL: customer.URL, Secrets: []credentials.Password{secret}, Types: []string{"message.*"},
			}}, nil
		},

		// For this example only: the customer's server is on this machine.
		AllowHTTP: true,
		AllowAddr: netip.Addr.IsLoopback,
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go hooks.Run(ctx)

	// A history calls Publish with what happens to messages.
	err := hooks.Publish(ctx, []store.Event{{
		ID: "06ekx8_0_1", Kind: store.EventDelivered, Time: time.Date(2026, 11, 29, 2, 3, 4, 0, time.UTC),
		Tenant: "acme", Mail: "06ekx8", Recipient: "bob@example.com",
	}})
	if err != nil {
		stdlog.Fatal(err)
	}
	<-done
	// Output:
	// 06ekx8_0_1
	// {"type":"message.delivered","timestamp":"2026-11-29T02:03:04.000000Z","data":{"id":"06ekx8","recipient":"bob@example.com"}}
}

// verify is what a receiver in Go does that uses no library. It returns nil if the
// request is signed with the secret and not older than five minutes.
func verify(h http.Header, body []byte, secret string, now time.Time) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return err
	}
	stamp := h.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > 5*time.Minute {
		return errors.New("webhook-timestamp is missing, or too far from now")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("webhook-id") + "." + stamp + "." + string(body)))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, got := range strings.Fields(h.Get("webhook-signature")) { // several while the secret changes
		if hmac.Equal([]byte(got), []byte(want)) {
			return nil
		}
	}
	return errors.New("no signature matches")
}
