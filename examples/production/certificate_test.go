package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// files are a certificate for localhost and its key.
type files struct{ cert, key string }

func newFiles(t *testing.T) files {
	dir := t.TempDir()
	return files{filepath.Join(dir, "relay.crt"), filepath.Join(dir, "relay.key")}
}

// renew writes a new certificate of this serial number, as the programs do that
// fetch them: each file is replaced as a whole, one after the other.
func (f files) renew(t *testing.T, serial int64) {
	t.Helper()
	cert, key := newCertificate(t, serial)
	replace(t, f.cert, cert)
	replace(t, f.key, key)
}

func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// newCertificate returns a self-signed certificate and its key, both in PEM.
func newCertificate(t *testing.T, serial int64) (cert, key []byte) {
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

// served returns the serial number of the certificate that a handshake gets.
func served(t *testing.T, c *certificate) int64 {
	t.Helper()
	cert, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf.SerialNumber.Int64()
}

// If the new files cannot be used, the old certificate stays, and the log says so
// once.
func TestBrokenCertificate(t *testing.T) {
	cert2, key2 := newCertificate(t, 2)
	for name, breakIt := range map[string]func(t *testing.T, f files){
		"garbage":           func(t *testing.T, f files) { replace(t, f.cert, []byte("garbage")) },
		"empty":             func(t *testing.T, f files) { os.Truncate(f.cert, 0) },
		"half renewed":      func(t *testing.T, f files) { replace(t, f.cert, cert2) },
		"other half":        func(t *testing.T, f files) { replace(t, f.key, key2) },
		"key missing":       func(t *testing.T, f files) { os.Remove(f.key) },
		"directory instead": func(t *testing.T, f files) { os.Remove(f.cert); os.Mkdir(f.cert, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFiles(t)
			f.renew(t, 1)
			var log bytes.Buffer
			c, err := loadCertificate(f.cert, f.key, slog.New(slog.NewJSONHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			log.Reset()
			breakIt(t, f)
			for range 3 {
				if n := served(t, c); n != 1 {
					t.Fatalf("certificate %d is served, want 1", n)
				}
			}
			if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), `"level":"ERROR"`) {
				t.Errorf("logged is, want one error:\n%s", &log)
			}
			os.RemoveAll(f.cert)
			f.renew(t, 3)
			if n := served(t, c); n != 3 {
				t.Errorf("then certificate %d is served, want 3", n)
			}
		})
	}
}

// A new file is read even if it has the age and size of the old one.
func TestCertificateOfSameAge(t *testing.T) {
	f := newFiles(t)
	write := func(serial int64, age time.Time) {
		f.renew(t, serial)
		for _, name := range []string{f.cert, f.key} {
			if err := os.Chtimes(name, age, age); err != nil {
				t.Fatal(err)
			}
		}
	}
	age := time.Now().Add(-time.Minute)
	write(1, age)
	c, err := loadCertificate(f.cert, f.key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	write(2, age)
	if n := served(t, c); n != 2 {
		t.Errorf("certificate %d is served, want 2", n)
	}
	first, _ := c.get(nil)
	if again, _ := c.get(nil); again != first {
		t.Error("files that haven't changed are read again")
	}
}
