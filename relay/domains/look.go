package domains

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/relay/dkim"
)

const (
	// maxHops is how many CNAMEs are followed.
	maxHops = 8

	// recordTime is how long a record is looked up.
	recordTime = 10 * time.Second

	// maxFound is how many values are kept of what was found instead of a record, and
	// maxValue how many bytes of each.
	maxFound, maxValue = 5, 255
)

func isNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// see looks a record up with one resolver after another until one says that it is right.
// It is missing or wrong only if all resolvers say so.
func (m *Manager) see(ctx context.Context, domain string, r *Record) seen {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	var last seen
	unknown := false
	for _, resolver := range m.resolvers() {
		got, err := m.seeWith(ctx, resolver, domain, r)
		switch {
		case err != nil:
			unknown = true
		case got.Status == Right:
			return got
		default:
			last = got
		}
	}
	if unknown {
		return seen{Status: Unknown, Reason: "the DNS gave no answer; it is asked again"}
	}
	if last.Status == Missing && m.isDoubled(ctx, domain, r) {
		last = seen{Status: Wrong, Found: []string{r.Name + "." + domain}, Reason: doubled}
	}
	for i, value := range last.Found {
		last.Found[i] = mailtext.OneLineUTF8(value, maxValue)
	}
	last.Found = last.Found[:min(len(last.Found), maxFound)]
	return last
}

// seeWith looks a record up with one resolver. An error means that the answer is
// unknown.
func (m *Manager) seeWith(ctx context.Context, resolver Resolver, domain string, r *Record) (seen, error) {
	switch {
	case r.Purpose == DMARC:
		return seePolicy(ctx, resolver, domain)
	case r.Type == "CNAME":
		return m.seeCNAME(ctx, resolver, r)
	}
	public, err := publicOf(r.Value)
	if err != nil {
		return seen{}, err
	}
	selector, _, _ := strings.Cut(r.Name, ".")
	return seeKey(ctx, resolver, r.Name, dkim.Key{Selector: selector, Signer: public})
}

// doubled is the Reason of a record whose name has the domain twice.
const doubled = "the DNS provider adds the domain to the name itself, so the record is at another name; enter the name without the domain"

// isDoubled reports whether a record is at its name with the domain added once more.
func (m *Manager) isDoubled(ctx context.Context, domain string, r *Record) bool {
	name := r.Name + "." + domain + "."
	for _, resolver := range m.resolvers() {
		if r.Type == "CNAME" {
			next, err := resolver.LookupCNAME(ctx, name)
			if err == nil && strings.EqualFold(strings.TrimSuffix(next, "."), r.Value) {
				return true
			}
			continue
		}
		texts, _ := resolver.LookupTXT(ctx, name)
		if slices.Contains(texts, r.Value) {
			return true
		}
	}
	return false
}

// seeCNAME follows CNAMEs to the value of a record. LookupCNAME of a [*net.Resolver]
// returns the first of them only.
func (m *Manager) seeCNAME(ctx context.Context, resolver Resolver, r *Record) (seen, error) {
	var hops []string
	for at := r.Name; len(hops) < maxHops; {
		next, err := resolver.LookupCNAME(ctx, at+".")
		if err != nil && !isNotFound(err) {
			return seen{}, err
		}
		next = strings.ToLower(strings.TrimSuffix(next, "."))
		if err != nil || next == "" || next == at {
			break
		}
		if next == r.Value {
			return seen{Status: Right}, nil
		}
		hops, at = append(hops, next), next
	}
	if len(hops) > 0 {
		return seen{Status: Wrong, Found: hops, Reason: "it leads to another name; change it to the value shown"}, nil
	}
	return m.seeNoCNAME(ctx, resolver, r)
}

// seeNoCNAME says what is at a name that should have a CNAME and has none.
func (m *Manager) seeNoCNAME(ctx context.Context, resolver Resolver, r *Record) (seen, error) {
	texts, err := resolver.LookupTXT(ctx, r.Name+".")
	if err != nil && !isNotFound(err) {
		return seen{}, err
	}
	if len(texts) == 0 {
		return seen{Status: Missing, Reason: "there is no such record yet; a new one can take some hours to be seen"}, nil
	}
	reason := "there is a TXT record; replace it by a CNAME with the value shown"
	if m.isShared(strings.Join(texts, "")) {
		reason = "the DNS provider replaces the CNAME by what it leads to (flattening), so that nobody sees whose it is; switch that off for this name, or ask for a TXT record"
	}
	return seen{Status: Wrong, Found: texts, Reason: reason}, nil
}

// isShared reports whether a text has a key of Shared.
func (m *Manager) isShared(text string) bool {
	return slices.ContainsFunc(m.Shared, func(key dkim.Key) bool {
		_, public, _ := strings.Cut(publicRecord(key), "p=")
		return strings.Contains(strings.Join(strings.Fields(text), ""), public)
	})
}

// seeKey looks for the TXT record of a key.
func seeKey(ctx context.Context, resolver Resolver, name string, key dkim.Key) (seen, error) {
	var found []string
	err := dkim.Published(ctx, func(ctx context.Context, _ string) ([]string, error) {
		texts, err := resolver.LookupTXT(ctx, name+".")
		found = texts
		// Receivers ignore what is not the record of a key.
		keys := slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return !strings.Contains(t, "p=") })
		if len(keys) > 0 {
			texts = keys
		}
		return texts, err
	}, name, key)
	switch {
	case err == nil:
		return seen{Status: Right}, nil
	case errors.Is(err, dkim.ErrNotPublished):
		return seen{Status: Missing, Reason: "there is no such record yet; a new one can take some hours to be seen"}, nil
	case errors.Is(err, dkim.ErrSeveralRecords):
		return seen{Status: Wrong, Found: found, Reason: "there are several keys at this name; remove all but the one shown"}, nil
	case errors.Is(err, dkim.ErrOtherKey), errors.Is(err, dkim.ErrUnusable):
		return seen{Status: Wrong, Found: found, Reason: "there is another record; change it to the value shown, without quotes or line breaks"}, nil
	}
	return seen{}, err
}

// seePolicy looks for a DMARC policy of a domain, or of the domain that was registered
// (RFC 7489 section 6.6.3).
func seePolicy(ctx context.Context, resolver Resolver, domain string) (seen, error) {
	names := []string{domain}
	if registered, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil && registered != domain {
		names = append(names, registered)
	}
	for _, name := range names {
		texts, err := resolver.LookupTXT(ctx, "_dmarc."+name+".")
		if err != nil && !isNotFound(err) {
			return seen{}, err
		}
		texts = slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return !strings.HasPrefix(t, "v=DMARC1") })
		switch {
		case len(texts) > 1:
			return seen{Status: Wrong, Found: texts, Reason: "there are several policies; remove all but one"}, nil
		case len(texts) == 1:
			return seen{Status: Right}, nil
		}
	}
	return seen{Status: Missing, Reason: "large providers want a policy from domains that send much; p=none changes nothing for your mail"}, nil
}

// zoneAnswers reports whether Zone publishes what ZoneRecords says, at names that were
// never asked for before. If it does not, or there is no Zone, the mistake is the product's,
// and no domain with CNAMEs changes its state. The answer is used for a minute.
func (m *Manager) zoneAnswers(ctx context.Context) bool {
	m.mu.Lock()
	fresh, ok := time.Since(m.zoneAt) < time.Minute, m.zoneOK
	m.mu.Unlock()
	if fresh {
		return ok
	}
	if ok = m.Zone != ""; !ok {
		m.logger().Error("domains: there are domains with CNAMEs but no zone, so none of them changes its state; set Manager.Zone to the one they lead to")
	}
	for _, selector := range m.selectors() {
		ok = ok && m.wildcardAnswers(ctx, selector)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil {
		m.zoneAt, m.zoneOK = time.Now(), ok
	}
	return ok
}

// wildcardAnswers looks for the record of a selector in Zone. One without a key in Shared
// may have any.
func (m *Manager) wildcardAnswers(ctx context.Context, selector string) bool {
	name := strings.ToLower(rand.Text()[:16]) + "." + selector + "." + m.Zone
	var last error
	for _, resolver := range m.resolvers() {
		ctx, cancel := context.WithTimeout(ctx, recordTime)
		defer cancel()
		key, got := m.shared(selector), seen{Status: Right}
		var err error
		if key != nil {
			got, err = seeKey(ctx, resolver, name, *key)
		} else {
			_, err = resolver.LookupTXT(ctx, name+".")
		}
		if err == nil && got.Status == Right {
			return true
		}
		last = err
	}
	if ctx.Err() == nil {
		m.logger().Error("domains: the product's own zone does not answer with its key, so no domain changes its state",
			"record", "*."+selector+"."+m.Zone, "asked", name, "error", last)
	}
	return false
}
