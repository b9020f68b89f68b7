// Package certfiles writes the certificate files of tests.
package certfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Files are a certificate for localhost and its key.
type Files struct{ Cert, Key string }

// New returns the names of files that do not exist yet.
func New(t *testing.T) Files {
	dir := t.TempDir()
	return Files{filepath.Join(dir, "relay.crt"), filepath.Join(dir, "relay.key")}
}

// Renew writes a new certificate of this serial number, as the programs do that
// fetch them: each file is replaced as a whole, one after the other.
func (f Files) Renew(t *testing.T, serial int64) {
	t.Helper()
	cert, key := Make(t, serial)
	Replace(t, f.Cert, cert)
	Replace(t, f.Key, key)
}

// Replace replaces a file as a whole.
func Replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Make returns a self-signed certificate and its key, both in PEM.
func Make(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
