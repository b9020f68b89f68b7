package main

import (
	"bytes"
	"crypto/x509"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestCertificate(t *testing.T) {
	t.Chdir(t.TempDir())
	synctest.Test(t, func(t *testing.T) { // for a clock that can be moved on by a year
		first := leaf(t)
		for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
			if err := first.VerifyHostname(name); err != nil {
				t.Error(err)
			}
		}
		roots := x509.NewCertPool()
		roots.AddCert(first)
		if _, err := first.Verify(x509.VerifyOptions{Roots: roots}); err != nil {
			t.Errorf("a client that is given the certificate doesn't trust it: %v", err)
		}
		info, err := os.Stat(keyFile)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("the key's mode is %v", info.Mode())
		}

		time.Sleep(300 * 24 * time.Hour)
		if again := leaf(t); !bytes.Equal(again.Raw, first.Raw) {
			t.Error("the second start makes another certificate")
		}
		time.Sleep(100 * 24 * time.Hour)
		if renewed := leaf(t); bytes.Equal(renewed.Raw, first.Raw) || time.Now().After(renewed.NotAfter) {
			t.Error("an expired certificate is not renewed")
		}
	})
}

// A crash between the writing of the two files leaves only one of them.
func TestCertificateHalfWritten(t *testing.T) {
	for _, missing := range []string{certificateFile, keyFile} {
		t.Run(missing, func(t *testing.T) {
			t.Chdir(t.TempDir())
			leaf(t)
			if err := os.Remove(missing); err != nil {
				t.Fatal(err)
			}
			leaf(t)
		})
	}
}

// Files that aren't what this program wrote are somebody's own.
func TestCertificateUnreadable(t *testing.T) {
	t.Chdir(t.TempDir())
	leaf(t)
	if err := os.WriteFile(keyFile, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := certificate(); err == nil {
		t.Error("no error")
	}
	if content, _ := os.ReadFile(keyFile); string(content) != "something else" {
		t.Error("the file was overwritten")
	}
}

func leaf(t *testing.T) *x509.Certificate {
	t.Helper()
	cert, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}
