package limits_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay/limits"
)

// A limit that is new, and one whose Anchor or zone is, counts what was accepted since
// the beginning of its period.
func TestNewAnchor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t)
		defer p.stop()
		l := p.node()
		defer p.run(l)()
		p.sends(l, billing, 10) // at 00:00
		time.Sleep(2 * time.Hour)
		p.sends(l, billing, 20) // at 02:00
		time.Sleep(2 * time.Hour)
		day := func(zone *time.Location, hour, max int) limits.Limit {
			return limits.Limit{Interval: limits.Daily, Max: int64(max), Anchor: time.Date(1999, 5, 5, hour, 0, 0, 0, zone)}
		}
		set := func(limit limits.Limit, used int64) {
			t.Helper()
			p.set(limit)
			l.Forget("acme")
			p.uses(l, billing, used)
			p.sends(l, billing, 1)
			time.Sleep(3 * time.Second)
			p.uses(l, billing, used+1)
		}
		set(day(time.UTC, 0, 100), 30)  // a new limit
		set(day(time.UTC, 1, 100), 21)  // begins at 01:00
		set(day(time.UTC, 0, 100), 32)  // as it was, with the one in between
		set(day(time.UTC, 23, 100), 33) // of the day before
		kolkata, err := time.LoadLocation("Asia/Kolkata")
		if err != nil {
			t.Fatal(err)
		}
		set(day(kolkata, 7, 100), 24) // 01:30 UTC: half of an hour counts
		set(day(kolkata, 9, 100), 5)  // 03:30 UTC
		half := day(time.UTC, 0, 7)
		half.Anchor = time.Now().Add(-time.Minute).In(kolkata)
		set(half, 6)
		p.refuses(l, billing, 1, 550, "the daily limit of 7 recipients is used up (7 of 7); it begins anew on "+
			half.Anchor.AddDate(0, 0, 1).Format("2 January 2006 at 15:04 -0700"))
	})
}

// Changing the time zone to and fro does not multiply a limit, whether history applies
// what is accepted or not.
func TestZoneToAndFro(t *testing.T) {
	for name, applied := range map[string]bool{"applied": true, "waiting": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProduct(t)
				stop := sync.OnceFunc(p.stop)
				defer stop()
				if !applied {
					stop()
				}
				l := p.node()
				time.Sleep(12 * time.Hour)
				zone := func(hours, messages int) (sent int) {
					zone := time.FixedZone("", hours*3600)
					p.set(limits.Limit{Interval: limits.Daily, Max: 100, Anchor: time.Date(1999, 5, 5, 0, 0, 0, 0, zone)})
					l.Forget("acme")
					for ; sent < messages && send(l, billing, 1) == nil; sent++ {
					}
					time.Sleep(3 * time.Second)
					return sent
				}
				zone(0, 1)
				zone(1, 1)
				zone(2, 10)
				zone(0, 20)
				if n := zone(1, 1000) + 32; n != 100 {
					t.Errorf("%d recipients are accepted, want 100", n)
				}
				for hours := range 3 {
					if n := zone(hours, 1000); n > 0 {
						t.Errorf("%d more are accepted in zone %d", n, hours)
					}
				}
				if !applied {
					applyAll(t, p.st)
				}
				for range 3 {
					p.uses(l, billing, 100)
					zone(1, 1)
				}
			})
		})
	}
}

// Records that wait when the Anchor changes count.
func TestNewAnchorWhileRecordsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 10})
		p.stop()
		l := p.node()
		time.Sleep(20 * 24 * time.Hour)
		p.sends(l, billing, 10)
		p.set(limits.Limit{Max: 10, Anchor: time.Date(2000, 1, 15, 0, 0, 0, 0, time.UTC)})
		l.Forget("acme")
		p.refuses(l, billing, 1, 550, "the monthly limit of 10 recipients is used up (10 of 10); it begins anew on 15 February 2000")
	})
}

// In a zone that is off by half an hour a period begins with nothing used, at its time.
func TestHalfHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kolkata, err := time.LoadLocation("Asia/Kolkata")
		if err != nil {
			t.Fatal(err)
		}
		p := newProduct(t, limits.Limit{Interval: limits.Daily, Max: 10, Anchor: time.Date(2000, 1, 1, 0, 0, 0, 0, kolkata)})
		defer p.stop()
		l := p.node()
		defer p.run(l)()
		time.Sleep(18*time.Hour + 29*time.Minute + 50*time.Second)
		p.sends(l, billing, 10)
		p.refuses(l, billing, 1, 550, "the daily limit of 10 recipients is used up (10 of 10); it begins anew on 2 January 2000")
		time.Sleep(11 * time.Second)
		p.sends(l, billing, 10)
		p.refuses(l, billing, 1, 550, "the daily limit of 10 recipients is used up (10 of 10); it begins anew on 3 January 2000")
	})
}
