package credentials

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

// collectAfter is how much memory hashes allocate, in KiB, before argon2id runs
// the garbage collector on a 32-bit system.
const collectAfter = 64 << 10

var (
	hashing sync.RWMutex  // read-locked by each hash, locked to collect
	garbage atomic.Uint32 // memory of the hashes since the last collection, in KiB
)

// argon2id computes a hash. On a 32-bit system it also bounds the garbage that
// hashes leave behind. The collector may stop a goroutine in the middle of a
// hash, and then treats every word on its stack as a pointer. These words are
// random numbers. With addresses of 32 bits many of them point to old garbage,
// which is then kept. So argon2id runs the collector while there is no hash.
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
