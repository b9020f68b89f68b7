package credentials

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// A Cost holds the parameters of argon2id (RFC 9106). A field that is zero means
// its default.
//
// Each hash contains its cost, so a changed Cost applies to new passwords only.
// A login does not hash an old password again: passwords have 130 random bits
// and need no higher cost, and a new hash would count as a reset and end the
// user's sessions.
type Cost struct {
	MemoryKiB uint32 // memory in KiB; default 19456 (19 MiB), at most 262144 (256 MiB)
	Time      uint32 // passes over the memory; default 2, at most 16
	Threads   uint8  // default 1, at most 16
}

// Limits on a Cost and on a hash from the store, so that neither can exhaust the
// process.
const (
	maxMemoryKiB = 256 << 10
	maxTime      = 16
	maxThreads   = 16
	maxPHC       = 256 // bytes of a whole hash
	saltSize     = 16
	keySize      = 32
)

func (c Cost) orDefault() Cost {
	if c.MemoryKiB == 0 {
		c.MemoryKiB = 19 << 10
	}
	if c.Time == 0 {
		c.Time = 2
	}
	if c.Threads == 0 {
		c.Threads = 1
	}
	return c
}

// check returns an error if argon2id does not define the cost (RFC 9106 section
// 3.1) or if it exceeds the limits.
func (c Cost) check() error {
	if c.Time < 1 || c.Threads < 1 || c.MemoryKiB < 8*uint32(c.Threads) ||
		c.MemoryKiB > maxMemoryKiB || c.Time > maxTime || c.Threads > maxThreads {
		return fmt.Errorf("credentials: cost m=%d,t=%d,p=%d is out of bounds: at most m=%d,t=%d,p=%d, and at least m=8 for each p",
			c.MemoryKiB, c.Time, c.Threads, maxMemoryKiB, maxTime, maxThreads)
	}
	return nil
}

// work returns how much memory a hash of this cost writes, in KiB.
func (c Cost) work() int64 { return int64(c.MemoryKiB) * int64(c.Time) }

// A phc is a hash with the cost and the salt that it was made with. Its text is a
// PHC string: $argon2id$v=19$m=19456,t=2,p=1$SALT$KEY, with SALT and KEY in base64
// without padding.
type phc struct {
	cost Cost
	salt []byte
	key  []byte
}

// newPHC hashes a password with a new salt.
func newPHC(password string, cost Cost) phc {
	h := phc{cost: cost, salt: make([]byte, saltSize)}
	rand.Read(h.salt)
	h.key = h.derive(password, keySize)
	return h
}

func (h phc) derive(password string, size int) []byte {
	return argon2id(password, h.salt, h.cost, size)
}

// beside hashes a password with the salt and the cost of h. One computation then tells
// whether a password is either of the two, so that a user with two passwords costs what
// others do, and guesses cannot tell them apart. Passwords are random, so that the salt
// they share does not help an attacker.
func (h phc) beside(password string) phc {
	h.key = h.derive(password, len(h.key))
	return h
}

// matches reports whether the password is that of h, and otherwise whether it is that
// of old, if there is one.
func (h phc) matches(password string, old *phc) (ok, isOld bool) {
	key := h.derive(password, len(h.key))
	if subtle.ConstantTimeCompare(key, h.key) == 1 {
		return true, false
	}
	if old == nil {
		return false, false
	}
	if old.cost != h.cost || len(old.key) != len(h.key) || !bytes.Equal(old.salt, h.salt) { // made elsewhere
		key = old.derive(password, len(old.key))
	}
	isOld = subtle.ConstantTimeCompare(key, old.key) == 1
	return isOld, isOld
}

// encode returns the PHC string. It is not named String, so that fmt does not
// print hashes.
func (h phc) encode() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		h.cost.MemoryKiB, h.cost.Time, h.cost.Threads, b64.EncodeToString(h.salt), b64.EncodeToString(h.key))
}

var errBadPHC = errors.New("credentials: malformed hash in the store")

// parsePHC parses a PHC string in exactly the form that encode returns. The error
// does not contain the string.
func parsePHC(text string) (phc, error) {
	if len(text) > maxPHC {
		return phc{}, errBadPHC
	}
	part := strings.Split(text, "$")
	if len(part) != 6 {
		return phc{}, errBadPHC
	}
	h := phc{cost: parseCost(part[3])}
	h.salt, _ = base64.RawStdEncoding.DecodeString(part[4])
	h.key, _ = base64.RawStdEncoding.DecodeString(part[5])
	if h.cost.check() != nil || len(h.salt) < 8 || len(h.key) < 16 || len(h.key) > 64 || h.encode() != text {
		return phc{}, errBadPHC
	}
	return h, nil
}

// parseCost parses "m=19456,t=2,p=1". A malformed field becomes zero, which
// Cost.check refuses.
func parseCost(text string) (c Cost) {
	m, rest, _ := strings.Cut(text, ",")
	t, p, _ := strings.Cut(rest, ",")
	number := func(s, prefix string, bits int) uint64 {
		n, err := strconv.ParseUint(strings.TrimPrefix(s, prefix), 10, bits)
		if err != nil {
			return 0
		}
		return n
	}
	c.MemoryKiB = uint32(number(m, "m=", 32))
	c.Time = uint32(number(t, "t=", 32))
	c.Threads = uint8(number(p, "p=", 8))
	return c
}
