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

// verdict returns what is remembered of the attempt's password, and sets a.isOld. A
// password that was verified before its rotation is remembered as the old one, too.
func (m *Manager) verdict(a *attempt) (ok, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a.isOld = false
	if _, ok := m.verified.Get(a.digest); ok {
		return true, true
	}
	_, found = m.refused.Get(a.digest)
	if a.old != nil {
		if _, a.isOld = m.verified.Get(a.oldDigest); a.isOld {
			return true, true
		}
		_, refusedOld := m.refused.Get(a.oldDigest)
		found = found && refusedOld
	}
	return false, found
}

// storeVerdict remembers whether the password is right, for each hash that it was
// compared with. A wrong one counts once for the rate limits. An old one is refused
// without a hash when it has ended.
func (m *Manager) storeVerdict(a *attempt, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !ok || a.elsewhere {
		m.limits.addFailure(a)
	}
	if ok && !a.isOld {
		m.verified.Put(a.digest, struct{}{})
		return
	}
	m.refused.Put(a.digest, struct{}{})
	switch {
	case ok:
		m.verified.Put(a.oldDigest, struct{}{})
	case a.old != nil:
		m.refused.Put(a.oldDigest, struct{}{})
	}
}
