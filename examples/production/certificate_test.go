package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/certfiles"
)

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
	cert2, key2 := certfiles.Make(t, 2)
	for name, breakIt := range map[string]func(t *testing.T, f certfiles.Files){
		"garbage":           func(t *testing.T, f certfiles.Files) { certfiles.Replace(t, f.Cert, []byte("garbage")) },
		"empty":             func(t *testing.T, f certfiles.Files) { os.Truncate(f.Cert, 0) },
		"half renewed":      func(t *testing.T, f certfiles.Files) { certfiles.Replace(t, f.Cert, cert2) },
		"other half":        func(t *testing.T, f certfiles.Files) { certfiles.Replace(t, f.Key, key2) },
		"key missing":       func(t *testing.T, f certfiles.Files) { os.Remove(f.Key) },
		"directory instead": func(t *testing.T, f certfiles.Files) { os.Remove(f.Cert); os.Mkdir(f.Cert, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			f := certfiles.New(t)
			f.Renew(t, 1)
			var log bytes.Buffer
			c, err := loadCertificate(f.Cert, f.Key, slog.New(slog.NewJSONHandler(&log, nil)))
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
			os.RemoveAll(f.Cert)
			f.Renew(t, 3)
			if n := served(t, c); n != 3 {
				t.Errorf("then certificate %d is served, want 3", n)
			}
		})
	}
}

// A new file is read even if it has the age and size of the old one.
func TestCertificateOfSameAge(t *testing.T) {
	f := certfiles.New(t)
	write := func(serial int64, age time.Time) {
		f.Renew(t, serial)
		for _, name := range []string{f.Cert, f.Key} {
			if err := os.Chtimes(name, age, age); err != nil {
				t.Fatal(err)
			}
		}
	}
	age := time.Now().Add(-time.Minute)
	write(1, age)
	c, err := loadCertificate(f.Cert, f.Key, slog.New(slog.DiscardHandler))
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
