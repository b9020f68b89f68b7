package credentials

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// A digest stands for one password tried on one user with one hash, without
// giving any of them away: HMAC-SHA256 under a key that lives in this process
// only. What is remembered under it needs no forgetting after a reset or a
// delete, because the store then answers with another hash or none.
type digest [sha256.Size]byte

// digest covers the hash and not only the generation, so that a database that
// was restored from a backup can't bring an old verdict back to life.
func (m *Manager) digest(username, hash, password string) (d digest) {
	mac := hmac.New(sha256.New, m.key)
	for _, s := range []string{username, hash, password} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		mac.Write([]byte(s))
	}
	mac.Sum(d[:0])
	return d
}
