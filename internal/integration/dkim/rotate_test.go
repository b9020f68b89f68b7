package dkim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A published is a [domains.Resolver] with the TXT records of a map.
type published struct {
	mu      sync.Mutex
	records map[string]string
}

func (p *published) LookupCNAME(_ context.Context, name string) (string, error) {
	return "", &net.DNSError{IsNotFound: true, Name: name}
}

func (p *published) LookupTXT(_ context.Context, name string) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text, ok := p.records[strings.TrimSuffix(name, ".")]; ok {
		return []string{text}, nil
	}
	return nil, &net.DNSError{IsNotFound: true, Name: name}
}

// A signature by a key that package domains has made, sealed and rotated holds for
// another program, and so does the one of the key before.
func TestRotatedKey(t *testing.T) {
	perl := services.Program(t, "perl")
	if out, err := exec.Command(perl, "-MMail::DKIM::Verifier", "-e", "1").CombinedOutput(); err != nil {
		services.Missing(t, err)
		t.Log(string(out))
	}
	st, dns := new(memory.Store), &published{records: make(map[string]string)}
	dom := &domains.Manager{
		Store: st, Domains: st, Secret: credentials.NewPassword(strings.Repeat("x", 32)),
		Resolvers: []domains.Resolver{dns}, Logger: slog.New(slog.DiscardHandler),
	}
	if _, err := (&credentials.Manager{Store: st}).Tenant("acme").AddDomain(t.Context(), "acme.example"); err != nil {
		t.Fatal(err)
	}
	var tasks []task
	for range 2 {
		d, err := dom.Domain(t.Context(), "acme", "acme.example")
		if err != nil {
			t.Fatal(err)
		}
		dns.records[d.Records[0].Name] = d.Records[0].Value
		s, err := st.Setup(t.Context(), d.Name, d.Tenant, created(t, st))
		if err != nil {
			t.Fatal(err)
		}
		s.Checked = s.Checked.AddDate(0, 0, -1) // so that Check looks again at once
		if err := st.SetSetup(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if d, err = dom.Check(t.Context(), "acme", "acme.example"); err != nil || d.State != domains.Verified {
			t.Fatalf("%+v, %v", d, err)
		}
		keys, err := dom.Keys(t.Context(), new(relay.Message), "acme.example")
		if err != nil || len(keys) != 1 || keys[0].RecordName(d.Name) != d.Records[0].Name {
			t.Fatalf("got %d keys, %v, want the new one", len(keys), err)
		}
		for _, content := range contents {
			tasks = append(tasks, task{[]byte(sign(t, keys, content)), dns.records, 1, []string{"pass"}})
		}
		if err := dom.Rotate(t.Context(), "acme", "acme.example"); err != nil {
			t.Fatal(err)
		}
	}
	var in bytes.Buffer
	for _, task := range tasks {
		json.NewEncoder(&in).Encode(task)
	}
	cmd := exec.CommandContext(t.Context(), perl, filepath.Join("testdata", "verify.pl"))
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(out), `["pass"]`); n != len(tasks) {
		t.Errorf("got %d signatures that hold, want %d:\n%s", n, len(tasks), out)
	}
}

// created returns when the domain was added.
func created(t *testing.T, st *memory.Store) time.Time {
	t.Helper()
	d, err := st.Domain(t.Context(), "acme", "acme.example")
	if err != nil {
		t.Fatal(err)
	}
	return d.Created
}
