package spools

import (
	"crypto/rand"
	"strings"
	"sync"
	"time"
)

// RecordIDs makes the IDs of records. The zero value is ready to use.
type RecordIDs struct {
	mu   sync.Mutex
	last int64
}

// recordDigits are the digits of a record's time, in the order of their bytes.
const recordDigits = "0123456789abcdefghijklmnopqrstuv"

// timeDigits is how many digits the time in microseconds has: enough until the
// year 3111.
const timeDigits = 11

// Next returns an ID that sorts after all IDs that r made before, and by time among
// those of other processes.
func (r *RecordIDs) Next(now time.Time) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last+1, now.UnixMicro())
	var id [timeDigits]byte
	for i, left := timeDigits-1, r.last; i >= 0; i-- {
		id[i] = recordDigits[left%32]
		left /= 32
	}
	return string(id[:]) + strings.ToLower(rand.Text()[:10])
}

// RecordTime returns when the record of an ID was made; zero if the ID is not one
// that Next makes.
func RecordTime(id string) time.Time {
	if len(id) < timeDigits {
		return time.Time{}
	}
	var micro int64
	for _, c := range id[:timeDigits] {
		digit := strings.IndexRune(recordDigits, c)
		if digit < 0 {
			return time.Time{}
		}
		micro = micro*32 + int64(digit)
	}
	return time.UnixMicro(micro).UTC()
}
