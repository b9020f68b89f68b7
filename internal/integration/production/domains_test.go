package production_test

import (
	"errors"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/dkim"
)

// With a zone, a user of a domain that is not proved is told which record is missing.
func TestUnprovedDomain(t *testing.T) {
	p := newProgram(t)
	key, err := dkim.GenerateRSA()
	if err != nil {
		t.Fatal(err)
	}
	text, err := dkim.MarshalPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	p.env["GATEPOST_ZONE"], p.env["GATEPOST_ZONE_KEY"] = "dkim.relay.example", filepath.Join(t.TempDir(), "zone.pem")
	if err := os.WriteFile(p.env["GATEPOST_ZONE_KEY"], text, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	u := p.addUser(t)
	c, _ := p.connect(t, true)
	defer c.Close()
	u.login(t, c)
	var reply *textproto.Error
	err = c.Mail("shop@acme.example")
	if !errors.As(err, &reply) || reply.Code != 550 || !strings.Contains(reply.Msg, "is not verified: gp1._domainkey.") || !strings.Contains(reply.Msg, ".gp1.dkim.relay.example") {
		t.Errorf("MAIL: got %v, want 550 with the record that is missing", err)
	}
	p.terminate(t)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, &p.log)
	}
}
