package bounces

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// maxLookups is how many terms of an SPF record may need a look-up (RFC 7208 section
// 4.6.4).
const maxLookups = 10

var errNoSPF = errors.New("no SPF record")

// An spf evaluates SPF records for one address.
type spf struct {
	r       Resolver
	addr    netip.Addr
	lookups int
}

// record returns the SPF record of a domain, or errNoSPF.
func (s *spf) record(ctx context.Context, domain string) (string, error) {
	texts, err := s.r.LookupTXT(ctx, domain+".")
	if err != nil && !isNotFound(err) {
		return "", fmt.Errorf("bounces: looking up the SPF record of %s: %w", domain, err)
	}
	record := ""
	for _, t := range texts {
		if version, _, _ := strings.Cut(strings.ToLower(t), " "); version != "v=spf1" {
			continue
		}
		if record != "" {
			return "", fmt.Errorf("bounces: %s has several SPF records: remove all but one", domain)
		}
		record = t
	}
	if record == "" {
		return "", errNoSPF
	}
	return record, nil
}

// results are the results of a term that matches, by its qualifier.
var results = map[byte]string{'+': "pass", '-': "fail", '~': "softfail", '?': "neutral"}

// evaluate returns the result of a record (RFC 7208 section 2.6): "pass", "fail",
// "softfail" or "neutral". An error means that the record is invalid, that a look-up
// failed, or that a term is one that only a receiver can evaluate.
func (s *spf) evaluate(ctx context.Context, domain, record string) (string, error) {
	redirect := ""
	for _, term := range strings.Fields(record)[1:] {
		term = strings.ToLower(term)
		if to, ok := strings.CutPrefix(term, "redirect="); ok {
			redirect = to
			continue
		}
		qualifier := byte('+')
		if results[term[0]] != "" {
			qualifier, term = term[0], term[1:]
		}
		matched, err := s.matches(ctx, domain, term)
		if err != nil {
			return "", err
		}
		if matched {
			return results[qualifier], nil
		}
	}
	if redirect == "" {
		return "neutral", nil
	}
	return s.other(ctx, redirect)
}

// other evaluates the record of another domain.
func (s *spf) other(ctx context.Context, domain string) (string, error) {
	if err := s.count(domain); err != nil {
		return "", err
	}
	record, err := s.record(ctx, domain)
	if errors.Is(err, errNoSPF) {
		return "", fmt.Errorf("bounces: the SPF record leads to %s, which has none", domain)
	} else if err != nil {
		return "", err
	}
	return s.evaluate(ctx, domain, record)
}

// count counts a look-up of a name.
func (s *spf) count(name string) error {
	if strings.Contains(name, "%") {
		return fmt.Errorf("bounces: the SPF record has a macro (%s), which is not evaluated here", name)
	}
	if s.lookups++; s.lookups > maxLookups {
		return fmt.Errorf("bounces: the SPF record needs more than %d look-ups: other servers ignore it", maxLookups)
	}
	return nil
}

// matches reports whether a mechanism without its qualifier matches the address.
func (s *spf) matches(ctx context.Context, domain, term string) (bool, error) {
	end := strings.IndexAny(term, ":/=")
	if end < 0 {
		end = len(term)
	}
	name, value := term[:end], strings.TrimPrefix(term[end:], ":")
	switch {
	case strings.HasPrefix(term[end:], "="): // a modifier, such as exp=
		return false, nil
	case name == "all":
		return true, nil
	case name == "ip4", name == "ip6":
		return s.inNetwork(value)
	case name == "include":
		result, err := s.other(ctx, value)
		return result == "pass", err
	case name == "a", name == "mx":
		return s.isHost(ctx, domain, name, value)
	}
	return false, fmt.Errorf("bounces: the SPF record of %s has the term %q, which is not evaluated here", domain, term)
}

// inNetwork matches ip4 and ip6.
func (s *spf) inNetwork(value string) (bool, error) {
	if !strings.Contains(value, "/") {
		a, err := netip.ParseAddr(value)
		if err != nil {
			return false, fmt.Errorf("bounces: the SPF record has an invalid address: %w", err)
		}
		return a == s.addr, nil
	}
	p, err := netip.ParsePrefix(value)
	if err != nil {
		return false, fmt.Errorf("bounces: the SPF record has an invalid network: %w", err)
	}
	return p.Contains(s.addr), nil
}

// isHost matches a and mx: value is a domain, or nothing for the domain of the
// record, with prefix lengths for IPv4 and IPv6 such as /24//64.
func (s *spf) isHost(ctx context.Context, domain, kind, value string) (bool, error) {
	host, lengths, _ := strings.Cut(value, "/")
	if host == "" {
		host = domain
	}
	if err := s.count(host); err != nil {
		return false, err
	}
	four, six, _ := strings.Cut(lengths, "/")
	length, text := s.addr.BitLen(), four
	if s.addr.Is6() {
		text = strings.TrimPrefix(six, "/")
	}
	if text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > length {
			return false, fmt.Errorf("bounces: the SPF record of %s has an invalid prefix length in %q", domain, value)
		}
		length = n
	}
	hosts := []string{host}
	if kind == "mx" {
		records, err := s.r.LookupMX(ctx, host+".")
		if err != nil && len(records) == 0 && !isNotFound(err) {
			return false, fmt.Errorf("bounces: looking up the MX records of %s: %w", host, err)
		}
		hosts = nil
		for _, mx := range records[:min(len(records), maxLookups)] {
			hosts = append(hosts, strings.TrimSuffix(mx.Host, "."))
		}
	}
	return s.anyAddress(ctx, hosts, length)
}

// anyAddress reports whether a host has the address, or one with the same first bits.
func (s *spf) anyAddress(ctx context.Context, hosts []string, bits int) (bool, error) {
	network, err := s.addr.Prefix(bits)
	if err != nil {
		return false, fmt.Errorf("bounces: %w", err)
	}
	for _, host := range hosts {
		known, err := s.r.LookupNetIP(ctx, "ip", host+".")
		if err != nil && !isNotFound(err) {
			return false, fmt.Errorf("bounces: looking up %s: %w", host, err)
		}
		for _, a := range known {
			if network.Contains(a.Unmap()) {
				return true, nil
			}
		}
	}
	return false, nil
}
