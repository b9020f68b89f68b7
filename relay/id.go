package relay

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"time"
)

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns a new message ID of 26 letters and digits. It holds the time to the
// millisecond and 80 random bits. IDs sort by time, which keeps a queue's index
// compact. NewID may be called from many goroutines at once.
func NewID() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(time.Now().UnixMilli())<<16)
	rand.Read(b[6:]) // never fails
	return idEncoding.EncodeToString(b[:])
}
