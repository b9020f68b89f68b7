package credentials_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// From the tests of the reference implementation of Argon2, in PHC form.
const reference = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

func TestHashIsArgon2id(t *testing.T) {
	for _, tc := range []struct {
		password string
		want     bool
	}{{"password", true}, {"passwore", false}} {
		if got, err := credentials.MatchesPHC(reference, tc.password); got != tc.want || err != nil {
			t.Errorf("%q: got %v, %v; want %v", tc.password, got, err, tc.want)
		}
	}
}

func TestHashContainsItsCost(t *testing.T) {
	for _, tc := range []struct {
		cost credentials.Cost
		want string
	}{
		{credentials.Cost{}, "$argon2id$v=19$m=19456,t=2,p=1$"},
		{credentials.Cost{MemoryKiB: 64}, "$argon2id$v=19$m=64,t=2,p=1$"},
		{credentials.Cost{MemoryKiB: 64, Time: 3, Threads: 4}, "$argon2id$v=19$m=64,t=3,p=4$"},
	} {
		f := newFixture(t)
		f.Manager = &credentials.Manager{Store: f.spy, Cost: tc.cost}
		f.acme = f.Manager.Tenant("acme")
		u, p := f.add("tool")
		if hash := f.spy.passwords[len(f.spy.passwords)-1]; !strings.HasPrefix(hash, tc.want) {
			t.Errorf("the hash is %s, want %s…", hash, tc.want)
		}
		must(t, f.login(u.Username, p.Reveal(), here))
		// A hash of another cost is still valid.
		must(t, f.login(f.user.Username, f.password.Reveal(), here))
	}
}

func TestCostOutOfBounds(t *testing.T) {
	for _, cost := range []credentials.Cost{
		{MemoryKiB: 7}, {MemoryKiB: 1 << 31}, {Time: 1000}, {Threads: 255}, {MemoryKiB: 16, Threads: 4},
	} {
		m := &credentials.Manager{Store: new(memory.Store), Cost: cost}
		_, err := m.Authenticate(t.Context(), "smtp", credentials.NewPassword("x"), here)
		if err == nil || errors.Is(err, credentials.ErrDenied) || !strings.Contains(err.Error(), "out of bounds") {
			t.Errorf("%+v: error is %v, want one with %q", cost, err, "out of bounds")
		}
	}
}

// hostile are hashes that a store should not return. Without a check each of them
// would panic, exhaust the process or accept any password.
var hostile = []string{
	"",
	"plain",
	"$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
	"$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=4398046511104,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=256,t=4294967295,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=256,t=0,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=256,t=2,p=0$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=256,t=2,p=256$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=256,t=2,p=-1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=0256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$t=2,m=256,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=256,t=2,p=1,x=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=256,t=2,p=1$$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$",
	"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$AA",
	"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ=$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4=",
	"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4$",
	"$argon2id$v=19$m=256,t=2,p=1$" + strings.Repeat("c29tZXNh", 1<<17) + "$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
}

func TestHostileHashIsAnError(t *testing.T) {
	for _, hash := range hostile {
		f := newFixture(t)
		var log strings.Builder
		f.Manager.Logger = logTo(&log)
		f.spy.hash = hash
		if hash == "" {
			f.spy.hash = "$"
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := f.login(f.user.Username, "", here)
		runtime.ReadMemStats(&after)
		if err == nil || errors.Is(err, credentials.ErrDenied) || errors.Is(err, credentials.ErrBusy) {
			t.Errorf("%.100q: error is %v, want another one than ErrDenied and ErrBusy", hash, err)
		}
		if after.TotalAlloc-before.TotalAlloc > 8<<20 {
			t.Errorf("%.100q allocated %d bytes, want at most 8 MiB", hash, after.TotalAlloc-before.TotalAlloc)
		}
		if !strings.Contains(log.String(), f.user.Username) {
			t.Errorf("%.100q: the log is %q, want the username in it", hash, log.String())
		}
		if len(hash) > 20 && (strings.Contains(err.Error(), hash[20:]) || strings.Contains(log.String(), hash[20:])) {
			t.Errorf("%.100q: the error or the log contains the hash: %v; %s", hash, err, log.String())
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add(reference)
	for _, hash := range hostile[:len(hostile)-1] {
		f.Add(hash)
	}
	f.Fuzz(func(t *testing.T, text string) {
		again, err := credentials.EncodePHC(text)
		if err == nil && again != text {
			t.Errorf("%q is encoded again as %q, want no change", text, again)
		}
		if err != nil && len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Errorf("the error contains the hash: %v", err)
		}
	})
}
