// Package hook says which messages of a Spool are requests of webhooks. Package
// relay/webhook writes them, and relay/queue knows them, so that a Spool that was given to
// both by mistake loses nothing.
package hook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A Forwarder sends requests. A queue whose Next is a Forwarder is one of webhooks.
type Forwarder relay.ForwarderFunc

// Forward calls f(ctx, m).
func (f Forwarder) Forward(ctx context.Context, m *relay.Message) error { return f(ctx, m) }

var encoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// How an ID is made: the bytes of a time in milliseconds, and of a hash.
const (
	timeBytes = 6
	hashBytes = 16
)

var idLength = encoding.EncodedLen(timeBytes + hashBytes)

// ID returns the ID of the message that is the request for an event: the same each time.
// It begins with the event's time, so that IDs sort by time.
func ID(tenant store.TenantID, event string, at time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())<<16)[:timeBytes]
	return encoding.EncodeToString(append(b, hash(tenant, event)...))
}

// IsRequest reports whether a message is a request: whether its ID is one of ID for this
// tenant and event. The event is the message's EnvelopeID.
func IsRequest(id string, tenant store.TenantID, event string) bool {
	if len(id) != idLength {
		return false // as all mail with an ID of relay.NewID
	}
	b, err := encoding.DecodeString(id)
	return err == nil && bytes.Equal(b[timeBytes:], hash(tenant, event))
}

func hash(tenant store.TenantID, event string) []byte {
	sum := sha256.Sum256([]byte(string(tenant) + "\x00" + event))
	return sum[:hashBytes]
}
