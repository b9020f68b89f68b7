package credentials

import (
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
)

// The brakes on guessing. Only new wrong passwords count; a password that was
// refused before costs nothing and counts nothing.
const (
	// Per username and address prefix: 10 wrong passwords at once, then one
	// more every 4 seconds.
	userBurst    = 10
	userInterval = 4 * time.Second

	// Per address prefix, whatever the usernames: 50, then one more every 2
	// seconds.
	prefixBurst    = 50
	prefixInterval = 2 * time.Second

	// For how long a wrong password sets a prefix back in the queue. A flood
	// has to come from more addresses than are hashed in this time before an
	// address without a guess waits behind it.
	demotion = 10 * time.Minute

	// How many are remembered of each, those that guessed last.
	maxBrakes = 1 << 16
)

// brakes remember who guessed of late.
type brakes struct {
	users    lru.Cache[userAt, bucket]
	prefixes lru.Cache[netip.Prefix, prefixState]
}

type prefixState struct {
	limit   bucket // limits the guesses
	guesses bucket // counts them, for the queue
}

type userAt struct {
	username string
	prefix   netip.Prefix
}

// A bucket is a token bucket, kept as the time at which it will be full again.
// The zero bucket is full.
type bucket time.Time

// delay returns how long it takes until the bucket has a token.
func (b bucket) delay(now time.Time, burst int, interval time.Duration) time.Duration {
	full := time.Time(b)
	if !full.After(now) {
		return 0
	}
	return max(0, full.Sub(now)-time.Duration(burst-1)*interval)
}

// take returns the bucket with one token less. It may go into debt.
func (b bucket) take(now time.Time, interval time.Duration) bucket {
	if t := time.Time(b); t.After(now) {
		now = t
	}
	return bucket(now.Add(interval))
}

// delay returns how long the attempt has to wait. At home only guesses at the
// same username count, so that strangers behind the same address can't slow a
// tool that belongs there.
func (b *brakes) delay(a *attempt) time.Duration {
	now := time.Now()
	user, _ := b.users.Get(userAt{a.username, a.prefix})
	delay := user.delay(now, userBurst, userInterval)
	if !a.home {
		prefix, _ := b.prefixes.Get(a.prefix)
		delay = max(delay, prefix.limit.delay(now, prefixBurst, prefixInterval))
	}
	return delay
}

// guesses returns how many wrong passwords came from the prefix of late.
func (b *brakes) guesses(prefix netip.Prefix) int {
	p, _ := b.prefixes.Get(prefix)
	return int((max(0, time.Until(time.Time(p.guesses))) + demotion - 1) / demotion)
}

// guessed counts a wrong password.
func (b *brakes) guessed(a *attempt) {
	now := time.Now()
	key := userAt{a.username, a.prefix}
	user, _ := b.users.Get(key)
	b.users.Put(key, user.take(now, userInterval))
	prefix, _ := b.prefixes.Get(a.prefix)
	b.prefixes.Put(a.prefix, prefixState{
		limit:   prefix.limit.take(now, prefixInterval),
		guesses: prefix.guesses.take(now, demotion),
	})
}
