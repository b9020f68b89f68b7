package credentials

import (
	"net/netip"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
)

// The rate limits on wrong passwords. A password that was refused before costs
// no hash and does not count.
const (
	// Per username and network: 10 wrong passwords at once, then one every 4
	// seconds.
	userBurst    = 10
	userInterval = 4 * time.Second

	// Per network, over all usernames: 50, then one every 2 seconds.
	networkBurst    = 50
	networkInterval = 2 * time.Second

	// failureMemory is how long a wrong password counts when the hash queue
	// orders networks. A flood delays a network without failures only if it
	// comes from more networks than are hashed in this time.
	failureMemory = 10 * time.Minute

	// maxLimited is the maximum number of entries of each kind. When it is
	// reached, the least recently used entry is dropped.
	maxLimited = 1 << 16
)

// rateLimits counts wrong passwords. It is not safe for concurrent use.
type rateLimits struct {
	users    lru.Cache[userAt, bucket]
	networks lru.Cache[netip.Prefix, networkState]
}

type userAt struct {
	username string
	network  netip.Prefix
}

type networkState struct {
	limit    bucket // limits wrong passwords
	failures bucket // counts them for the hash queue
}

// A bucket is a token bucket, stored as the time at which it will be full. The
// zero bucket is full.
type bucket time.Time

// delay returns how long it takes until the bucket has a token.
func (b bucket) delay(now time.Time, burst int, interval time.Duration) time.Duration {
	full := time.Time(b)
	if !full.After(now) {
		return 0
	}
	return max(0, full.Sub(now)-time.Duration(burst-1)*interval)
}

// take returns the bucket with one token less. The number of tokens may become
// negative.
func (b bucket) take(now time.Time, interval time.Duration) bucket {
	if t := time.Time(b); t.After(now) {
		now = t
	}
	return bucket(now.Add(interval))
}

// delay returns how long the attempt has to wait. From a known network only wrong
// passwords for the same username count, so that other clients behind the same
// address cannot slow down a tool.
func (l *rateLimits) delay(a *attempt) time.Duration {
	now := time.Now()
	user, _ := l.users.Get(userAt{a.username, a.network})
	delay := user.delay(now, userBurst, userInterval)
	if !a.known {
		network, _ := l.networks.Get(a.network)
		delay = max(delay, network.limit.delay(now, networkBurst, networkInterval))
	}
	return delay
}

// failures returns how many wrong passwords came from the network within
// failureMemory. One is forgotten in each such period.
func (l *rateLimits) failures(network netip.Prefix) int {
	state, _ := l.networks.Get(network)
	left := max(0, time.Until(time.Time(state.failures)))
	return int((left + failureMemory - 1) / failureMemory)
}

// addFailure counts a wrong password.
func (l *rateLimits) addFailure(a *attempt) {
	now := time.Now()
	key := userAt{a.username, a.network}
	user, _ := l.users.Get(key)
	l.users.Put(key, user.take(now, userInterval))
	network, _ := l.networks.Get(a.network)
	l.networks.Put(a.network, networkState{
		limit:    network.limit.take(now, networkInterval),
		failures: network.failures.take(now, failureMemory),
	})
}
