package e2e_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"regexp"
	"strings"
	"testing"
)

// A submission is a message and how to send it. As JSON it is the standard
// input of the scripts in testdata.
type submission struct {
	Server      string `json:"server"`
	Port        int    `json:"port"`
	ImplicitTLS bool   `json:"implicit_tls"`
	Certificate string `json:"certificate"`
	Username    string `json:"username"`
	Password    string `json:"password"`

	From       string `json:"from"`        // of the envelope
	HeaderFrom string `json:"header_from"` // of the header
	To         string `json:"to"`

	// Clients that compose are given the parts of the message, others the
	// whole.
	Subject    string `json:"subject"`
	Text       string `json:"text"`
	Attachment []byte `json:"attachment"`
	Raw        []byte `json:"raw"`
}

// submission returns a message from the user's own domain.
func (a access) submission(implicitTLS bool) submission {
	s := submission{
		Server: a.Server, Port: a.PortSTARTTLS, ImplicitTLS: implicitTLS, Certificate: a.Certificate,
		Username: a.Username, Password: a.Password,
		From: "shop@" + a.Domain, HeaderFrom: "shop@" + a.Domain, To: "customer@example.com",
		Subject: "Your order", Text: "Thank you.\r\n",
	}
	if implicitTLS {
		s.Port = a.PortTLS
	}
	return s
}

// raw composes the message: CRLF line ends, 8-bit text.
func (s submission) raw() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nSubject: %s\r\n", s.HeaderFrom, s.To, s.Subject)
	fmt.Fprint(&b, "Date: Tue, 01 Sep 2026 10:00:00 +0200\r\nMessage-ID: <1@shop.invalid>\r\nMIME-Version: 1.0\r\n")
	text := "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + s.Text
	if s.Attachment == nil {
		b.WriteString(text)
		return b.Bytes()
	}
	fmt.Fprint(&b, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", text)
	fmt.Fprint(&b, "\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"+
		"Content-Disposition: attachment; filename=data.bin\r\n\r\n")
	for encoded := base64.StdEncoding.EncodeToString(s.Attachment); encoded != ""; {
		line := encoded[:min(76, len(encoded))]
		encoded = encoded[len(line):]
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n--b--\r\n")
	return b.Bytes()
}

// tlsConfig trusts the relay only.
func (s submission) tlsConfig() (*tls.Config, error) {
	pem, err := os.ReadFile(s.Certificate)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: s.Server}, nil
}

// randomBytes returns the same n bytes each time.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// received is what may stand before what the client sent: the relay's Received
// field, and that of a client that is a relay itself.
var received = regexp.MustCompile(`^(Received: .*\r\n([ \t].*\r\n)*)+$`)

// checkWhole makes sure that a message arrived as it was sent.
func checkWhole(t *testing.T, got, sent []byte) {
	t.Helper()
	header, ok := bytes.CutSuffix(got, sent)
	switch {
	case !ok:
		t.Errorf("what arrived doesn't end in what was sent:\n%s", difference(got[max(0, bytes.Index(got, sent[:min(10, len(sent))])):], sent))
	case !received.Match(header):
		t.Errorf("the relay put %q before the message", header)
	}
}

// checkParts makes sure that text and attachment arrived as they were sent,
// however the client encoded them.
func checkParts(t *testing.T, got []byte, s submission) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(got))
	if err != nil {
		t.Fatalf("%v:\n%.200q", err, got)
	}
	var parts [][]byte
	collect(t, mail.Header(m.Header).Get, m.Body, &parts)
	sent := [][]byte{[]byte(s.Text)}
	if s.Attachment != nil {
		sent = append(sent, s.Attachment)
	}
	if len(parts) != len(sent) {
		t.Fatalf("what arrived has %d parts, want %d", len(parts), len(sent))
	}
	parts[0] = append(bytes.TrimRight(parts[0], "\r\n"), "\r\n"...) // MIME leaves the last line end open
	for i := range sent {
		if !bytes.Equal(parts[i], sent[i]) {
			t.Errorf("part %d of what arrived differs from what was sent:\n%s", i+1, difference(parts[i], sent[i]))
		}
	}
}

// difference shows where two texts begin to differ.
func difference(got, want []byte) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	i = max(0, i-20)
	return fmt.Sprintf("got  %.80q\nwant %.80q", got[min(i, len(got)):], want[min(i, len(want)):])
}

// collect decodes the parts of a MIME entity.
func collect(t *testing.T, header func(string) string, body io.Reader, parts *[][]byte) {
	t.Helper()
	kind, params, _ := mime.ParseMediaType(header("Content-Type"))
	if !strings.HasPrefix(kind, "multipart/") {
		switch strings.ToLower(header("Content-Transfer-Encoding")) {
		case "base64":
			body = base64.NewDecoder(base64.StdEncoding, body)
		case "quoted-printable":
			body = quotedprintable.NewReader(body)
		}
		content, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		*parts = append(*parts, content)
		return
	}
	for r := multipart.NewReader(body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		collect(t, p.Header.Get, p, parts)
	}
}
