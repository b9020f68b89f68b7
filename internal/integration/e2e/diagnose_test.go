package e2e_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/diagnose"
	"github.com/gatepost-mail/gatepost/relay/relaytest"
)

// Check gets through to a real Postfix with STARTTLS, which sends no login.
func TestDiagnosePostfix(t *testing.T) {
	cert := relaytest.Certificate()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "both.pem")
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})...)
	if err := os.WriteFile(file, both, 0o600); err != nil {
		t.Fatal(err)
	}
	addr, _ := startPostfix(t, fmt.Sprintf("smtpd_tls_security_level = may\nsmtpd_tls_chain_files = %s\n", file))
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	target := diagnose.Target{Host: "localhost", Port: port, TLSConfig: relaytest.ClientTLS()}
	steps := diagnose.Check(t.Context(), target)
	if last := steps[len(steps)-1]; len(steps) != 5 || last.Name != "certificate" || !last.OK {
		t.Errorf("got %+v, want all steps up to the certificate", steps)
	}
	target.Username = "shop"
	steps = diagnose.Check(t.Context(), target)
	if last := steps[len(steps)-1]; last.Name != "auth" || last.OK || !strings.Contains(last.Detail, "no login") {
		t.Errorf("got %+v, want that no login is offered", last)
	}
	target.TLS = true
	steps = diagnose.Check(t.Context(), target)
	if last := steps[len(steps)-1]; last.Name != "tls" || last.OK || !strings.Contains(last.Detail, "does not speak TLS from the first byte") {
		t.Errorf("got %+v, want that it speaks STARTTLS", last)
	}
}
