package history

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

func isRefusal(k store.EventKind) bool {
	return k == store.EventRefused || k == store.EventLoginRefused
}

// refusal adds a refusal. The same refusals within an hour are one activity. A refused
// login counts for no recipient.
func (d *deriver) refusal(e *store.Event) {
	times := max(1, e.Times)
	if e.Kind == store.EventRefused {
		d.hour(e).Rejected += int64(times)
	}
	_, c := d.recipient(activityKey{e.Tenant, refusalID(e), 0})
	a := &c.Activity
	if e.Field != fieldOmitted {
		fill(a, e)
	} else if a.Received.IsZero() || e.Received.Before(a.Received) {
		a.Received = receivedOf(e)
	}
	a.Times += times
	if from := network(e.Remote); e.Kind == store.EventLoginRefused && from != "" {
		seen := *e
		seen.Reason += ", from " + from
		e = &seen
	}
	become(a, e)
}

// fieldOmitted is the Field of refusals beyond MaxRefusals. They are one activity an
// hour and tenant, and count for the user.
const fieldOmitted = "omitted"

// idEncoding is that of relay.NewID, so that the IDs of refusals look and sort as those
// of mails.
var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// refusalID returns the Mail of the activity that a refusal belongs to. It is the same
// for refusals of the same hour that a person would call the same.
func refusalID(e *store.Event) string {
	hash := sha256.New()
	part := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		hash.Write(n[:])
		hash.Write([]byte(s))
	}
	part(string(e.Tenant))
	part(e.Field)
	if e.Field != fieldOmitted {
		for _, s := range []string{e.Domain, e.Username, e.From, e.Recipient, e.Reply.Enhanced, e.Reason, network(e.Remote)} {
			part(s)
		}
		part(string(binary.BigEndian.AppendUint64(nil, uint64(e.Reply.Code))))
	}
	hour := receivedOf(e).UTC().Truncate(time.Hour)
	id := binary.BigEndian.AppendUint64(nil, uint64(hour.UnixMilli())<<16)
	return idEncoding.EncodeToString(hash.Sum(id[:6])[:16])
}

// network returns the /24 or /64 of an address, as text; "" if there is none.
func network(a netip.Addr) string {
	bits := 64
	if a = a.Unmap(); a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil || !p.IsValid() {
		return ""
	}
	return p.String()
}
