package relay

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A TakenError means that a [Forwarder] has kept a message of this user with this
// [Message].Key before. It took nothing this time.
type TakenError struct {
	ID      string // of the message that was kept
	Differs bool   // that message is another one: its Fingerprint differs
}

// Error names the message that was kept.
func (e *TakenError) Error() string {
	if e.Differs {
		return "relay: another message has this key: " + e.ID
	}
	return "relay: the message was taken before, as " + e.ID
}

// Temporary returns false: to send it again does not help.
func (e *TakenError) Temporary() bool { return false }

// Unreachable returns false.
func (e *TakenError) Unreachable() bool { return false }

// maxKey is the longest key, in characters.
const maxKey = 256

// keyHeaderFault says why name cannot be Server.KeyHeader. It returns "" if it can.
func keyHeaderFault(name string) string {
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' || name[i] == ':' {
			return "is not the name of a header field"
		}
	}
	for _, used := range []string{
		"From", "Sender", "Date", "Message-ID", "Subject", "To", "Cc", "Reply-To", "In-Reply-To", "References", "Received", "Content-Type",
	} {
		if strings.EqualFold(name, used) {
			return "is a field that has another meaning"
		}
	}
	return ""
}

// setKey sets the message's key, from the header or from the Submission, and its
// fingerprint.
func (tx *transaction) setKey(m *Message, fields []string, in *content) reply {
	m.Key = tx.key
	switch {
	case len(fields) > 1:
		return replyBadContent(fmt.Sprintf("the message has more than one %s field", tx.srv.KeyHeader))
	case m.Key == "" && len(fields) == 1:
		m.Key = fields[0]
	case m.Key == "":
		return reply{}
	}
	if m.Key == "" || len(m.Key) > maxKey || strings.ContainsFunc(m.Key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return replyBadContent(fmt.Sprintf("a key has 1 to %d printable ASCII characters", maxKey))
	}
	sum, err := fingerprint(m, in)
	if err != nil {
		return tx.contentReply(err)
	}
	m.Fingerprint = sum
	return reply{}
}

// fingerprint returns a hash of the sender, the recipients and the content as it was
// received. The recipients may come in any order.
func fingerprint(m *Message, in *content) (string, error) {
	h := sha256.New()
	var to []string
	for _, r := range m.To {
		to = append(to, r.Address)
	}
	slices.Sort(to)
	for _, s := range append([]string{m.From}, to...) {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		io.WriteString(h, s)
	}
	h.Write([]byte{0}) // no address is empty, so the list ends here
	h.Write(in.header)
	_, err := io.Copy(h, io.NewSectionReader(in.rest, 0, in.restSize))
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil)), err
}
