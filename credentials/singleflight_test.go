package credentials_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
)

// If the login that hashes is cancelled, another one with the same password
// hashes in its place.
func TestSingleflightSurvivesItsLeader(t *testing.T) {
	bubble(t, "leader is cancelled", func(t *testing.T, f *fixture) {
		f.guess(f.user.Username, 10, here) // the rate limit delays the next attempt by 4 seconds
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		leader, follower := make(chan error, 1), make(chan error, 1)
		hashes := f.hashes(func() {
			go func() {
				_, err := f.Authenticate(ctx, f.user.Username, f.password, here)
				leader <- err
			}()
			synctest.Wait()
			go func() { follower <- f.login(f.user.Username, f.password.Reveal(), here) }()
			wantError(t, <-leader, credentials.ErrBusy)
			must(t, <-follower)
		})
		wantHashes(t, "both logins", hashes, 1)
		wantTook(t, "both logins", time.Since(start), 4*time.Second, 4*time.Second)
	})
}
