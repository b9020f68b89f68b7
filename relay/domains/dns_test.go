package domains_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A zone is a name server with records such as "CNAME other.example" or "TXT text".
// "SERVFAIL" makes the server fail. A name that begins with "*." answers for all names below it. As a recursive server does,
// it follows CNAMEs within the zone.
type zone struct {
	mu      sync.Mutex
	records map[string][]string
	asked   int
}

func newZone(records map[string][]string) *zone { return &zone{records: records} }

// set replaces the records of a name.
func (z *zone) set(name string, records ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records[name] = records
}

// remove makes a name one that does not exist.
func (z *zone) remove(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.records, name)
}

func (z *zone) questions() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked
}

// at returns the records of a name. The caller must hold z.mu.
func (z *zone) at(name string) (list []string, ok bool) {
	if list, ok = z.records[name]; ok {
		return list, true
	}
	for rest := name; ; {
		_, after, found := strings.Cut(rest, ".")
		if !found {
			return nil, false
		}
		if list, ok = z.records["*."+after]; ok {
			return list, true
		}
		rest = after
	}
}

// resolver returns Go's own resolver, which asks the zone.
func (z *zone) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go z.serve(server)
		return client, nil
	}}
}

// serve answers one connection, on which each message has its length in front.
func (z *zone) serve(c net.Conn) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b) != nil || len(m.Questions) != 1 {
			return
		}
		out, err := z.answer(m).Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return
		}
	}
}

func (z *zone) answer(m dnsmessage.Message) *dnsmessage.Message {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	q := m.Questions[0]
	a := &dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
	name := strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
	for range 12 {
		list, ok := z.at(name)
		if !ok {
			a.RCode = dnsmessage.RCodeNameError
			return a
		}
		next := ""
		for _, r := range list {
			kind, value, _ := strings.Cut(r, " ")
			h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name + "."), Class: q.Class, TTL: 60}
			switch {
			case kind == "SERVFAIL":
				a.RCode, a.Answers = dnsmessage.RCodeServerFailure, nil
				return a
			case kind == "CNAME":
				next = value
				a.Answers = append(a.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(value + ".")}})
			case kind == "TXT" && q.Type == dnsmessage.TypeTXT:
				a.Answers = append(a.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.TXTResource{TXT: strs(value)}})
			case kind == "A" && q.Type == dnsmessage.TypeA:
				a.Answers = append(a.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}})
			case kind == "MX" && q.Type == dnsmessage.TypeMX:
				a.Answers = append(a.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.MXResource{Pref: 10, MX: dnsmessage.MustNewName(value + ".")}})
			}
		}
		if next == "" {
			return a
		}
		name = strings.ToLower(next)
	}
	a.RCode, a.Answers = dnsmessage.RCodeServerFailure, nil // a loop, as recursive servers answer
	return a
}

// strs splits a text into the strings of a TXT record.
func strs(text string) (list []string) {
	for len(text) > 255 {
		list, text = append(list, text[:255]), text[255:]
	}
	return append(list, text)
}

// The server is one that Go's resolver understands.
func TestScriptedServer(t *testing.T) {
	z := newZone(map[string][]string{
		"a.example": {"CNAME b.example"}, "b.example": {"CNAME c.example"}, "*.example": {"TXT " + strings.Repeat("x", 300)},
		"gone.test": {"CNAME nowhere.test"}, "loop.test": {"CNAME loop.test"}, "fail.test": {"SERVFAIL"},
	})
	r := z.resolver()
	if got, err := r.LookupCNAME(t.Context(), "a.example."); got != "b.example." || err != nil {
		t.Errorf("LookupCNAME: got %q, %v; want the first hop", got, err)
	}
	if got, err := r.LookupTXT(t.Context(), "a.example."); err != nil || len(got) != 1 || len(got[0]) != 300 {
		t.Errorf("LookupTXT: got %q, %v", got, err)
	}
	for name, notFound := range map[string]bool{"x.test.": true, "gone.test.": true, "loop.test.": false, "fail.test.": false} {
		_, err := r.LookupCNAME(t.Context(), name)
		if dns, ok := err.(*net.DNSError); !ok || dns.IsNotFound != notFound {
			t.Errorf("%s: got error %v, want one with IsNotFound %t", name, err, notFound)
		}
	}
}
