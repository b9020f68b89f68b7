package dkim

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailheader"
	"github.com/gatepost-mail/gatepost/relay"
)

// signedFields are the fields that a signature covers if the message has them (RFC
// 6376 section 5.4.1), in the order in which it names them.
var signedFields = []string{
	"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID",
	"In-Reply-To", "References", "MIME-Version", "Content-Type",
	"Content-Transfer-Encoding", "Content-ID", "Content-Description",
	"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post",
	"List-Subscribe", "List-Post", "List-Owner", "List-Archive", "Feedback-ID",
}

// oversigned are the fields that a signature names once more than the message has
// them. A field of such a name that is added later breaks the signature (RFC 6376
// section 8.15).
var oversigned = map[string]bool{
	"From": true, "Reply-To": true, "To": true, "Cc": true, "Subject": true,
	"Date": true, "MIME-Version": true, "Content-Type": true,
}

// signatures returns a signature field of each key. It reads the body once.
func signatures(m *relay.Message, header []byte, keys []Key) ([]byte, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	content := m.Content()
	if _, err := content.Seek(int64(len(header)), io.SeekStart); err != nil {
		return nil, err
	}
	body := &relaxedBody{hash: sha256.New()}
	if _, err := io.Copy(body, content); err != nil {
		return nil, err
	}
	bodyHash := base64.StdEncoding.EncodeToString(body.sum())
	names, canonical := pickFields(header)
	now := time.Now()
	var fields bytes.Buffer
	for _, key := range keys {
		field := unsigned(key, names, bodyHash, now)
		h := sha256.New()
		h.Write(canonical)
		h.Write(bytes.TrimSuffix(relaxedField("DKIM-Signature", []byte(field)), []byte("\r\n")))
		signature, err := key.sign(h.Sum(nil))
		if err != nil {
			return nil, fmt.Errorf("selector %q of %s: %w", key.Selector, key.Domain, err)
		}
		fields.WriteString("DKIM-Signature:" + field + foldEvery(base64.StdEncoding.EncodeToString(signature), 72) + "\r\n")
	}
	return fields.Bytes(), nil
}

// sign signs the hash of what a signature covers.
func (k Key) sign(hashed []byte) ([]byte, error) {
	if k.algorithm() == "ed25519" {
		return k.Signer.Sign(rand.Reader, hashed, crypto.Hash(0)) // RFC 8463 section 3: it signs the hash as a message
	}
	return k.Signer.Sign(rand.Reader, hashed, crypto.SHA256)
}

// pickFields returns the names for the tag h=, and the fields in that order in
// relaxed form. Fields of one name are taken from the last to the first (RFC 6376
// section 5.4.2).
func pickFields(header []byte) (names []string, canonical []byte) {
	found := make(map[string][][]byte)
	for name, value := range mailheader.Fields(header) {
		name = strings.ToLower(name)
		found[name] = append(found[name], value)
	}
	for _, name := range signedFields {
		values := found[strings.ToLower(name)]
		for i := len(values) - 1; i >= 0; i-- {
			names = append(names, name)
			canonical = append(canonical, relaxedField(name, values[i])...)
		}
		if oversigned[name] {
			names = append(names, name)
		}
	}
	return names, canonical
}

// unsigned returns the value of a signature field whose last tag, b=, is empty. Its
// lines have about 76 bytes.
func unsigned(key Key, names []string, bodyHash string, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, " v=1; a=%s-sha256; c=relaxed/relaxed;\r\n\td=%s;\r\n\ts=%s;\r\n\tt=%d; bh=%s;\r\n\th=",
		key.algorithm(), key.Domain, key.Selector, now.Unix(), bodyHash)
	line := len("\th=")
	for i, name := range names {
		if i > 0 {
			b.WriteByte(':')
			line++
		}
		if line+len(name) > 75 {
			b.WriteString("\r\n\t ")
			line = len("\t ")
		}
		b.WriteString(name)
		line += len(name)
	}
	b.WriteString(";\r\n\tb=")
	return b.String()
}

// foldEvery puts a line break behind every n bytes.
func foldEvery(text string, n int) string {
	var b strings.Builder
	for len(text) > n {
		b.WriteString(text[:n] + "\r\n\t")
		text = text[n:]
	}
	return b.String() + text
}

// relaxedField returns a field in relaxed canonical form (RFC 6376 section 3.4.2).
func relaxedField(name string, value []byte) []byte {
	out := append([]byte(strings.ToLower(name)), ':')
	space := false
	for _, ch := range value {
		switch ch {
		case ' ', '\t', '\r', '\n':
			space = true
		default:
			if space && len(out) > len(name)+1 {
				out = append(out, ' ')
			}
			space = false
			out = append(out, ch)
		}
	}
	return append(out, "\r\n"...)
}

// A relaxedBody hashes a body in relaxed canonical form (RFC 6376 section 3.4.4).
type relaxedBody struct {
	hash  hash.Hash
	out   []byte
	lines int  // line ends that are not hashed yet
	space bool // white space that is not hashed yet
	cr    bool // the last byte was a CR
	some  bool // something is hashed
}

func (b *relaxedBody) Write(p []byte) (int, error) {
	for i := 0; i < len(p); {
		switch ch := p[i]; {
		case ch == '\n' && b.cr:
			b.lines++
			b.cr, b.space = false, false
			i++
			continue
		case b.cr: // a CR on its own
			b.flush('\r')
			b.cr = false
			continue
		case ch == '\r':
			b.cr = true
			i++
			continue
		case ch == ' ' || ch == '\t':
			b.space = true
			i++
			continue
		}
		n := bytes.IndexAny(p[i:], " \t\r")
		if n < 0 {
			n = len(p) - i
		}
		b.flush(p[i : i+n]...)
		i += n
	}
	return len(p), nil
}

// flush hashes what was held back, and then text.
func (b *relaxedBody) flush(text ...byte) {
	for ; b.lines > 0; b.lines-- {
		b.add('\r', '\n')
	}
	if b.space {
		b.add(' ')
		b.space = false
	}
	b.add(text...)
	b.some = true
}

func (b *relaxedBody) add(text ...byte) {
	if b.out = append(b.out, text...); len(b.out) > 4<<10 {
		b.hash.Write(b.out)
		b.out = b.out[:0]
	}
}

// sum returns the hash of the body. Empty lines at its end do not count, and its last
// line ends in CRLF.
func (b *relaxedBody) sum() []byte {
	if b.cr {
		b.flush('\r')
	}
	if b.some {
		b.out = append(b.out, "\r\n"...)
	}
	b.hash.Write(b.out)
	return b.hash.Sum(nil)
}
