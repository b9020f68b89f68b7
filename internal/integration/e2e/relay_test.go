package e2e_test

import (
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
	"github.com/gatepost-mail/gatepost/store"
)

func TestMain(m *testing.M) { services.Main(m) }

// access is what a client needs to send mail.
type access struct {
	Console      string `json:"console"` // of the quickstart
	Server       string `json:"server"`
	PortSTARTTLS int    `json:"port_starttls"`
	PortTLS      int    `json:"port_tls"`
	Certificate  string `json:"certificate"`
	Domain       string `json:"domain"`
	Username     string `json:"username"`
	Password     string `json:"password"`
}

// A relay is one that programs can send through.
type relay struct {
	*relaytest.Relay
	access
	taken int // how many of its messages take has returned
}

// startRelay starts a relay until the end of the test.
func startRelay(t *testing.T) *relay {
	t.Helper()
	r := &relay{Relay: relaytest.NewRelay(t)}
	r.access = access{
		Server: "localhost", PortSTARTTLS: portOf(t, r.Addr), PortTLS: portOf(t, r.AddrTLS),
		Certificate: filepath.Join(t.TempDir(), "relay.crt"),
		Domain:      r.Relay.Domain, Username: r.Relay.Username, Password: r.Relay.Password,
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: relaytest.Certificate().Certificate[0]})
	if err := os.WriteFile(r.Certificate, cert, 0o644); err != nil {
		t.Fatal(err)
	}
	return r
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// reset gives the user a new password.
func (r *relay) reset(t *testing.T) {
	t.Helper()
	password, err := r.Credentials.Tenant(r.Tenant).ResetPassword(t.Context(), r.access.Username)
	if err != nil {
		t.Fatal(err)
	}
	r.access.Password = password.Reveal()
}

// delete deletes the user.
func (r *relay) delete(t *testing.T) {
	t.Helper()
	if err := r.Credentials.Tenant(r.Tenant).DeleteUser(t.Context(), r.access.Username); err != nil {
		t.Fatal(err)
	}
}

// user returns the user, with its last connection.
func (r *relay) user(t *testing.T) store.User {
	t.Helper()
	u, err := r.Credentials.Tenant(r.Tenant).User(t.Context(), r.access.Username)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// take returns the messages that were accepted since the last call.
func (r *relay) take() (contents [][]byte) {
	for _, m := range r.Messages()[r.taken:] {
		contents = append(contents, m.Data)
		r.taken++
	}
	return contents
}

// connectedNow reports whether the user's last connection is from this machine,
// within the last minute.
func connectedNow(u store.User) bool {
	return time.Since(u.LastConnection) < time.Minute && u.LastConnectionFrom.IsLoopback()
}
