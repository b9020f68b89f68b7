package spools

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

// Digest returns a number that differs, most likely, if two mails of one ID
// differ: in a field of Mail, a Recipient or the content, whose checksum is sum.
func Digest(m *store.Mail, deliveries []store.Delivery, sum uint32) int64 {
	h := fnv.New64a()
	text := func(s string) {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		io.WriteString(h, s)
	}
	for _, s := range []string{string(m.Tenant), m.Domain, m.Username, m.From, m.Remote.String(), m.Body, m.Return, m.EnvelopeID} {
		text(s)
	}
	flags := byte(0)
	if m.UTF8 {
		flags |= 1
	}
	if m.RequireTLS {
		flags |= 2
	}
	var numbers []byte
	for _, n := range []int64{m.Received.UnixMicro(), m.Size, int64(flags), int64(len(deliveries)), int64(sum)} {
		numbers = binary.BigEndian.AppendUint64(numbers, uint64(n))
	}
	h.Write(numbers)
	for i := range deliveries {
		text(deliveries[i].Recipient)
	}
	return int64(h.Sum64())
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Summer reads from R, and Sum is the checksum of what was read.
type Summer struct {
	R   io.Reader
	Sum uint32
}

// Read implements [io.Reader].
func (s *Summer) Read(p []byte) (int, error) {
	n, err := s.R.Read(p)
	s.Sum = crc32.Update(s.Sum, castagnoli, p[:n])
	return n, err
}

// CheckForms returns an error if a filter has more forms of a recipient than an adapter
// need look for.
func CheckForms(f *store.ActivityFilter) error {
	if n := len(f.RecipientForms); n > 2 {
		return fmt.Errorf("the filter has %d forms of a recipient, the maximum is 2", n)
	}
	return nil
}

// Check returns an error if no adapter can keep the mail with the deliveries.
func Check(m *store.Mail, deliveries []store.Delivery) error {
	if n := len(deliveries); n == 0 || n > store.MaxDeliveries {
		return fmt.Errorf("a mail can't have %d deliveries", n)
	}
	for i := range deliveries {
		d := &deliveries[i]
		if d.Held && d.Node != "" {
			return fmt.Errorf("delivery %d is held and has a node", i)
		}
		if len(d.Destination) > 255 || strings.ContainsFunc(d.Destination, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("the destination %.300q is longer than 255 bytes or has control characters", d.Destination)
		}
	}
	return nil
}
