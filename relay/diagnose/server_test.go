package diagnose_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve runs a server that follows the script for one connection:
//
//	S:text    it sends the line; ECHO in it is what the client sent last
//	C:text    it reads a line, which has to begin with the text
//	ANY       it reads some bytes
//	TLS, OLD  it does a handshake, OLD with TLS 1.1
//	WAIT      it waits until the client goes
//
// At the end of the script it closes the connection.
func serve(t *testing.T, script string, cert *tls.Certificate) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		served.Wait()
	})
	if cert == nil {
		cert = dated(-time.Hour, 90*24*time.Hour)
	}
	served.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		play(t, conn, script, cert)
	})
	return l.Addr()
}

func play(t *testing.T, conn net.Conn, script string, cert *tls.Certificate) {
	r := bufio.NewReader(conn)
	last := ""
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		verb, text, _ := strings.Cut(line, ":")
		switch verb {
		case "S":
			io.WriteString(conn, strings.ReplaceAll(text, "ECHO", last)+"\r\n")
		case "C":
			got, err := r.ReadString('\n')
			if err != nil {
				return // the client has stopped
			}
			if last = strings.TrimSpace(got); !strings.HasPrefix(last, text) {
				t.Errorf("the client sent %q, want %q", last, text)
			}
		case "ANY":
			r.ReadByte()
		case "WAIT":
			io.Copy(io.Discard, r)
		case "TLS", "OLD":
			config := &tls.Config{Certificates: []tls.Certificate{*cert}}
			if verb == "OLD" {
				config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
			}
			tc := tls.Server(conn, config)
			defer tc.Close()
			if tc.Handshake() != nil {
				return
			}
			conn, r = tc, bufio.NewReader(tc)
		}
	}
	if _, ok := conn.(*tls.Conn); !ok {
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn) // so that what was sent is not lost in a reset
	}
}

var key, authority = func() (*ecdsa.PrivateKey, *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour * 1000), NotAfter: time.Now().Add(time.Hour * 10000),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	return key, sign(template, template, key)
}()

func sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}

func roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	return pool
}

// certificate returns a certificate for the name, signed by parent or, if that is nil, by
// itself.
func certificate(name string, from, until time.Duration, parent *x509.Certificate) *tls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if parent == nil {
		other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		cert := sign(template, template, other)
		return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: other, Leaf: cert}
	}
	cert := sign(template, parent, key)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}
}

func named(name string) *tls.Certificate {
	return certificate(name, -time.Hour, 1000*time.Hour, authority)
}

func dated(from, until time.Duration) *tls.Certificate {
	return certificate("localhost", from, until, authority)
}

func selfSigned() *tls.Certificate { return certificate("localhost", -time.Hour, 1000*time.Hour, nil) }

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// forms are those in which the password is sent.
func forms(password string) []string {
	return []string{password, encode(password), encode("\x00user\x00" + password), strings.ReplaceAll(password, "\t", " ")}
}
