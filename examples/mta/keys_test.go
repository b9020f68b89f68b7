package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay/dkim"
)

func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dkim")
	first, err := loadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 1 || first[0].Selector != firstSelector {
		t.Fatalf("at first there are %v", first)
	}
	file := filepath.Join(dir, firstSelector+".pem")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file is %v, %v", info, err)
	}

	_, second, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	writeKey(t, dir, "ed2026", second)
	both, err := loadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(both) != 2 || both[0].Selector != "ed2026" || record(both[1]) != record(first[0]) {
		t.Fatalf("with a second key there are %v", both)
	}
	var log bytes.Buffer
	err = both.tell(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"ed2026._domainkey.DOMAIN", record(both[0]), "gatepost._domainkey.DOMAIN", record(both[1])} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log doesn't say %q:\n%s", want, &log)
		}
	}
}

// A key that can't be used must not go unnoticed.
func TestBadKeys(t *testing.T) {
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(t *testing.T, dir string){
		"garbage": func(t *testing.T, dir string) { os.WriteFile(filepath.Join(dir, "x.pem"), []byte("no key"), 0o600) },
		"broken": func(t *testing.T, dir string) {
			writePEM(t, filepath.Join(dir, "x.pem"), "PRIVATE KEY", []byte("no key"))
		},
		"of no use":    func(t *testing.T, dir string) { writeKey(t, dir, "x", elliptic) },
		"another kind": func(t *testing.T, dir string) { writePEM(t, filepath.Join(dir, "x.pem"), "CERTIFICATE", []byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir)
			if _, err := loadKeys(dir); err == nil || !strings.Contains(err.Error(), "x.pem") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func writeKey(t *testing.T, dir, selector string, key any) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, selector+".pem"), "PRIVATE KEY", der)
}

// record returns the text of the record of a key.
func record(k dkim.Key) string {
	list, err := k.Record()
	if err != nil {
		panic(err)
	}
	return strings.Join(list, "")
}
