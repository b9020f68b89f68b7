package webhooks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A request is one that an endpoint got.
type request struct {
	header http.Header
	body   []byte
}

// send returns the request that is made of an event, with a signature of each secret.
func send(t *testing.T, e store.Event, secrets ...credentials.Password) request {
	t.Helper()
	requests := make(chan request, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{r.Header, body}
	}))
	defer srv.Close()
	s := &webhook.Sender{
		Queue: queue.Queue{Spool: new(memory.Store)},
		Endpoints: func(context.Context, store.TenantID) ([]webhook.Endpoint, error) {
			return []webhook.Endpoint{{ID: "shop", URL: srv.URL, Secrets: secrets}}, nil
		},
		AllowAddr: func(a netip.Addr) bool { return a.IsLoopback() },
		AllowHTTP: true,
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go s.Run(ctx)
	if err := s.Publish(ctx, []store.Event{e}); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-requests:
		return r
	case <-ctx.Done():
		t.Fatal("no request came")
	}
	panic("unreachable")
}

// libraries verify a request and return what it holds.
var libraries = []struct {
	name   string
	verify func(t *testing.T, secret string, r request) (payload []byte, err error)
}{
	{"Go", func(_ *testing.T, secret string, r request) ([]byte, error) {
		w, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return nil, err
		}
		return r.body, w.Verify(r.body, r.header)
	}},
	{"Node", func(t *testing.T, secret string, r request) ([]byte, error) {
		node := services.Program(t, "node")
		dir, err := packages()
		if err != nil {
			services.Missing(t, fmt.Errorf("cannot install standardwebhooks for Node: %w", err))
		}
		headers := make(map[string]string)
		for name := range r.header {
			headers[strings.ToLower(name)] = r.header.Get(name)
		}
		in, err := json.Marshal(map[string]any{"secret": secret, "headers": headers, "body": string(r.body)})
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(node, filepath.Join(dir, "verify.js"))
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, stderr.Bytes())
		}
		return out, err
	}},
}

// packages installs the packages of testdata once and returns the directory they
// are in.
var packages = sync.OnceValues(func() (dir string, err error) {
	if dir, err = services.Dir(); err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "webhooks")
	if err := os.CopyFS(dir, os.DirFS("testdata")); err != nil {
		return "", err
	}
	out, err := exec.Command("npm", "ci", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("npm: %w\n%s", err, out)
	}
	return dir, nil
})

// The libraries of Standard Webhooks verify what a Sender sends, with the old and with
// the new secret while it is changed, and with no other.
func TestLibrariesVerify(t *testing.T) {
	old, now, other := webhook.NewSecret(), webhook.NewSecret(), webhook.NewSecret()
	r := send(t, store.Event{
		ID: "06ekx8_0_1", Kind: store.EventHardBounced, Tenant: "acme", Mail: "06ekx8", Recipient: "bob@example.com",
		Subject: "Ça va? 😀 <b>&amp;</b> \u2028 \"", Reason: "bytes \xff\xfe that are not UTF-8",
	}, old, now)
	forged := request{r.header, bytes.Replace(r.body, []byte("bob@"), []byte("eve@"), 1)}
	for _, library := range libraries {
		t.Run(library.name, func(t *testing.T) {
			for _, secret := range []credentials.Password{old, now} {
				payload, err := library.verify(t, secret.Reveal(), r)
				if err != nil {
					t.Fatalf("a request of ours is refused: %v", err)
				}
				var p struct {
					Type string
					Data struct{ Recipient, Subject string }
				}
				if err := json.Unmarshal(payload, &p); err != nil {
					t.Fatal(err)
				}
				if p.Type != "message.hard_bounced" || p.Data.Recipient != "bob@example.com" || p.Data.Subject != "Ça va? 😀 <b>&amp;</b> \u2028 \"" {
					t.Errorf("the library reads %+v", p)
				}
			}
			if _, err := library.verify(t, other.Reveal(), r); err == nil {
				t.Error("a request is accepted with another secret")
			}
			if _, err := library.verify(t, now.Reveal(), forged); err == nil {
				t.Error("a forged body is accepted")
			}
		})
	}
}
