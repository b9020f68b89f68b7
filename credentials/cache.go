package credentials

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// The maximum number of remembered verdicts. Right and wrong passwords are kept
// apart, so that a flood of wrong ones displaces no right one.
const (
	maxVerified = 1 << 16
	maxRefused  = 1 << 16
)

// A digest identifies one password, tried for one user with one hash: an
// HMAC-SHA256 under a key of this process, from which none of them can be
// recovered. Digests need not be removed after a reset or a delete, because the
// store then returns another hash or none.
type digest [sha256.Size]byte

// digest covers the hash and not only the generation, because a database that is
// restored from a backup may repeat a generation.
func (m *Manager) digest(username, hash, password string) (d digest) {
	mac := hmac.New(sha256.New, m.key)
	for _, s := range []string{username, hash, password} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		mac.Write([]byte(s))
	}
	mac.Sum(d[:0])
	return d
}

// verdict returns what is remembered of the attempt's password.
func (m *Manager) verdict(a *attempt) (ok, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.verified.Get(a.digest); ok {
		return true, true
	}
	_, found = m.refused.Get(a.digest)
	return false, found
}

// storeVerdict remembers whether the password is right. A wrong one counts for
// the rate limits.
func (m *Manager) storeVerdict(a *attempt, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ok {
		m.verified.Put(a.digest, struct{}{})
		return
	}
	m.refused.Put(a.digest, struct{}{})
	m.limits.addFailure(a)
}
