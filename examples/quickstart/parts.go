package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// The files of the program, all in the current directory.
const (
	databaseFile    = "gatepost.db"
	certificateFile = "gatepost.crt"
	keyFile         = "gatepost.key"
	outboxDir       = "outbox"
)

// passwordVariable has the upstream's password: other users of the machine can
// read a command line.
const passwordVariable = "GATEPOST_UPSTREAM_PASSWORD"

// openDatabase opens the database, or makes it.
func openDatabase(ctx context.Context) (*sqlstore.Store, *sql.DB, error) {
	// Only the user may read it. SQLite gives the files beside it the same mode.
	f, err := os.OpenFile(databaseFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	f.Close()
	db, err := sql.Open("sqlite", "file:"+databaseFile+"?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, nil, err
	}
	st := sqlstore.New(db, sqlstore.SQLite)
	if err := st.Migrate(ctx); err != nil {
		db.Close()
		return nil, nil, fmt.Errorf("%s: %w", databaseFile, err)
	}
	return st, db, nil
}

// certificate returns the certificate in the two files, and makes it first if
// one of them is missing. A client that is given gatepost.crt can verify it.
func certificate() (tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(certificateFile, keyFile)
	if !errors.Is(err, fs.ErrNotExist) {
		return cert, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: hostname}, // curl needs one
		DNSNames:     []string{hostname},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:    time.Now().Add(-time.Hour), // for clocks that are slow
		NotAfter:     time.Now().AddDate(10, 0, 0),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return cert, err
	}
	pkcs8, _ := x509.MarshalPKCS8PrivateKey(key) // it can encode what GenerateKey returns
	err = errors.Join(
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600),
		os.WriteFile(certificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
	)
	if err != nil {
		return cert, err
	}
	return tls.LoadX509KeyPair(certificateFile, keyFile)
}

// parseUpstream makes a Forwarder of the URL of -upstream; nil if there is none.
// Its errors do not repeat the URL, which may hold a password by mistake.
func parseUpstream(text string) (*smarthost.Forwarder, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Path != "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		return nil, errors.New("use smtp://user@host:port or smtps://user@host:port")
	}
	password, username := os.Getenv(passwordVariable), u.User.Username()
	if _, inURL := u.User.Password(); inURL || (username != "") != (password != "") {
		return nil, fmt.Errorf("give the user in the URL and the password in %s, or neither", passwordVariable)
	}
	f := &smarthost.Forwarder{
		Addr:     net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "587")),
		Username: username,
		Password: credentials.NewPassword(password),
		Logger:   slog.New(slog.DiscardHandler), // the queue's events tell of each message
	}
	if u.Scheme == "smtps" {
		f.Addr, f.TLS = net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "465")), smarthost.ImplicitTLS
	}
	switch {
	case u.RawQuery == "":
	case u.RawQuery == "tls=skip-verify":
		f.TLSConfig = &tls.Config{InsecureSkipVerify: true}
	case u.RawQuery == "tls=none" && u.Scheme == "smtp":
		f.TLS = smarthost.NoTLS
	default:
		return nil, errors.New("the query is ?tls=skip-verify, or for smtp:// ?tls=none")
	}
	return f, nil
}

// An outbox is a [relay.Forwarder] that writes each message to a file in a
// directory. The file is complete and on the disk when Forward returns nil, which
// is what the relay promises its client with 250.
type outbox string

// path returns the file of a message.
func (o outbox) path(id string) string { return filepath.Join(string(o), id+".eml") }

// Forward implements [relay.Forwarder].
func (o outbox) Forward(_ context.Context, m *relay.Message) error {
	if err := os.MkdirAll(string(o), 0o700); err != nil {
		return err
	}
	temp := o.path(m.ID) + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, m.Content())
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, o.path(m.ID))
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}
