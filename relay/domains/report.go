package domains

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/store"
)

// A Sender is what [Manager.Report] needs to know of the servers that send.
type Sender struct {
	// Addrs are the public addresses that mail leaves from. If there are none, as
	// behind a smarthost, Report only looks whether there is an SPF record.
	Addrs []netip.Addr

	// CheckSelf, if set, checks that the name and the addresses of this server agree: it
	// is the method of a Forwarder of package relay/mx. Nil leaves the line out.
	CheckSelf func(ctx context.Context, addrs ...netip.Addr) error

	// Resolver looks SPF records up. Nil means the system's.
	Resolver bounces.Resolver
}

// A Line is one thing that large providers require of a sender of much mail.
type Line struct {
	Name    string   // such as "DKIM passes"
	Met     bool     // whether it is as they want it
	Text    string   // for people: what was seen, or what to publish
	Wanted  []string // by whom
	Records []Record // those to publish
}

// The providers. Gmail and Yahoo have required these things since February 2024 from
// senders of 5,000 messages a day or more, and Outlook.com since May 2025.
var (
	allProviders = []string{"Gmail", "Yahoo", "Outlook.com"}
	gmailYahoo   = allProviders[:2]
)

// Report looks at a domain as [Manager.Check] does, and says in lines which requirements
// of large providers are met and what to publish for the others. A name that is no domain
// gets a [*credentials.InvalidError], and one that the tenant does not have
// [store.ErrNotFound]. Any other error is a failure of the Store, or a panic in a Resolver.
func (m *Manager) Report(ctx context.Context, tenant store.TenantID, name string, from Sender) ([]Line, error) {
	d, err := m.Check(ctx, tenant, name)
	if err != nil {
		return nil, err
	}
	signed := dkimLine(&d)
	spf := spfLine(ctx, &d, from)
	lines := []Line{signed, spf, policyLine(&d), alignedLine(&d, signed.Met, spf.Met)}
	if from.CheckSelf != nil {
		line := Line{Name: "the server's name and addresses agree", Met: true, Text: "each address leads to the name and back (FCrDNS)", Wanted: gmailYahoo}
		if err := from.CheckSelf(ctx, from.Addrs...); err != nil {
			line.Met, line.Text = false, plain(err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// of returns the records of a purpose that are not as they should be, and whether one is.
func (d *Domain) of(p Purpose) (missing []Record, right bool) {
	for _, r := range d.Records {
		switch {
		case r.Purpose != p:
		case r.Status == Right:
			right = true
		case r.Required || p != DKIM:
			missing = append(missing, r)
		}
	}
	return missing, right
}

// publish says which records to publish.
func publish(list []Record) string {
	var texts []string
	for _, r := range list {
		texts = append(texts, fmt.Sprintf("publish %s %s %s (%s: %s)", r.Name, r.Type, r.Value, r.Status, r.Reason))
	}
	return strings.Join(texts, "\n")
}

func dkimLine(d *Domain) Line {
	missing, right := d.of(DKIM)
	if right && d.Sends() {
		return Line{Name: "DKIM passes", Met: true, Text: "mail is signed as " + d.Name, Wanted: allProviders, Records: missing}
	}
	return Line{Name: "DKIM passes", Text: publish(missing), Wanted: allProviders, Records: missing}
}

func spfLine(ctx context.Context, d *Domain, from Sender) Line {
	missing, right := d.of(ReturnPath)
	sender := d.Name
	if right {
		sender = "bounces." + d.Name
	}
	line := Line{Name: "SPF passes", Met: true, Text: "the record of " + sender + " allows the servers", Wanted: allProviders}
	if err := bounces.CheckSPF(ctx, from.Resolver, sender, from.Addrs...); err != nil {
		line.Met, line.Text = false, plain(err)
		if len(missing) > 0 {
			line.Text, line.Records = publish(missing)+"\nor "+line.Text, missing
		}
	}
	return line
}

func policyLine(d *Domain) Line {
	missing, right := d.of(DMARC)
	if right {
		return Line{Name: "DMARC policy", Met: true, Text: "there is one for " + d.Name, Wanted: allProviders}
	}
	return Line{Name: "DMARC policy", Text: publish(missing), Wanted: allProviders, Records: missing}
}

// alignedLine says whether DMARC passes: the domain of From is that of a signature or of
// the envelope sender (RFC 7489 section 3.1).
func alignedLine(d *Domain, signed, spf bool) Line {
	line := Line{Name: "DKIM or SPF for the domain of From", Met: signed || spf, Wanted: allProviders}
	switch {
	case signed:
		line.Text = "DKIM, as " + d.Name
	case spf:
		line.Text = "SPF, as long as the envelope sender is of " + d.Name
	default:
		line.Text = "one of the lines above has to be met"
	}
	return line
}

// plain returns the text of an error without the name of the package.
func plain(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(lines[i], "bounces: "), "mx: ")
	}
	return strings.Join(lines, "\n")
}
