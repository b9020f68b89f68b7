package credentials

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

// collectAfter is how much memory hashes take, in KiB, until argon2id runs the
// garbage collector on a 32-bit system.
const collectAfter = 64 << 10

var (
	hashing sync.RWMutex  // held by each hash, and alone to collect
	garbage atomic.Uint32 // memory of the hashes since the last collection, in KiB
)

// argon2id computes a hash. On a 32-bit system it also bounds the garbage that
// hashes leave behind. The collector may stop a goroutine in the middle of a
// hash, and then takes every word on its stack for a pointer. These words are
// random numbers, of which many are addresses of old garbage if an address has
// 32 bits. So the collector runs here at times while there is no hash.
func argon2id(password string, salt []byte, cost Cost, size int) []byte {
	if bits.UintSize == 32 && garbage.Add(cost.MemoryKiB) >= collectAfter {
		hashing.Lock()
		if garbage.Swap(0) >= collectAfter { // another goroutine may have collected
			runtime.GC()
		}
		hashing.Unlock()
	}
	hashing.RLock()
	defer hashing.RUnlock()
	return argon2.IDKey([]byte(password), salt, cost.Time, cost.MemoryKiB, cost.Threads, uint32(size))
}
