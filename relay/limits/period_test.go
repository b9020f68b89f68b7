package limits_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/gatepost-mail/gatepost/relay/limits"
)

func TestPeriod(t *testing.T) {
	at := func(text, zone string) time.Time {
		t.Helper()
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		got, err := time.ParseInLocation("2006-01-02 15:04", text, loc)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, test := range []struct {
		interval          limits.Interval
		anchor, zone      string
		now, begin, until string // in UTC
	}{
		{limits.Monthly, "", "UTC", "2026-02-28 23:59", "2026-02-01 00:00", "2026-03-01 00:00"},
		{limits.Monthly, "", "UTC", "2026-03-01 00:00", "2026-03-01 00:00", "2026-04-01 00:00"},
		{limits.Monthly, "2026-01-14 00:00", "UTC", "2026-12-31 23:00", "2026-12-14 00:00", "2027-01-14 00:00"},
		{limits.Monthly, "2025-12-31 00:00", "UTC", "2026-02-28 00:00", "2026-02-28 00:00", "2026-03-31 00:00"},
		{limits.Monthly, "2025-12-31 00:00", "UTC", "2026-02-27 23:59", "2026-01-31 00:00", "2026-02-28 00:00"},
		{limits.Monthly, "2025-12-31 00:00", "UTC", "2028-02-29 12:00", "2028-02-29 00:00", "2028-03-31 00:00"},
		{limits.Monthly, "2025-12-30 10:30", "UTC", "2026-04-30 10:29", "2026-03-30 10:30", "2026-04-30 10:30"},
		{limits.Monthly, "2030-05-05 00:00", "UTC", "2026-04-30 10:29", "2026-04-05 00:00", "2026-05-05 00:00"}, // an anchor to come
		{limits.Monthly, "2026-01-01 00:00", "America/Toronto", "2026-04-01 03:59", "2026-03-01 05:00", "2026-04-01 04:00"},
		{limits.Monthly, "2026-01-01 00:00", "Asia/Kolkata", "2026-03-31 18:30", "2026-03-31 18:30", "2026-04-30 18:30"},
		{limits.Monthly, "2026-01-01 00:00", "Asia/Kolkata", "2026-03-31 18:29", "2026-02-28 18:30", "2026-03-31 18:30"},
		{limits.Monthly, "2026-01-29 02:30", "Europe/Paris", "2026-03-29 00:59", "2026-02-28 01:30", "2026-03-29 01:00"}, // 02:30 is left out
		{limits.Daily, "2026-01-01 02:30", "Europe/Paris", "2026-03-29 12:00", "2026-03-29 01:00", "2026-03-30 00:30"},
		{limits.Daily, "2026-01-01 02:30", "Europe/Paris", "2026-10-25 12:00", "2026-10-25 00:30", "2026-10-26 01:30"}, // 02:30 comes twice
		{limits.Daily, "2026-01-01 00:00", "Europe/Paris", "2026-10-25 22:59", "2026-10-24 22:00", "2026-10-25 23:00"}, // 25 hours
		{limits.Daily, "2026-01-01 00:00", "America/Santiago", "2026-09-06 12:00", "2026-09-06 04:00", "2026-09-07 03:00"},
		{limits.Daily, "2026-01-01 00:00", "America/Havana", "2026-11-01 12:00", "2026-11-01 04:00", "2026-11-02 05:00"}, // midnight comes twice
		{limits.Daily, "2026-01-01 00:00", "Asia/Kolkata", "2026-03-29 18:29", "2026-03-28 18:30", "2026-03-29 18:30"},
		{limits.Hourly, "", "UTC", "2026-03-29 01:59", "2026-03-29 01:00", "2026-03-29 02:00"},
		{limits.Hourly, "2026-01-01 00:00", "Asia/Kolkata", "2026-03-29 01:29", "2026-03-29 00:30", "2026-03-29 01:30"},
		{limits.Hourly, "2030-01-01 00:10", "UTC", "2026-03-29 01:09", "2026-03-29 00:10", "2026-03-29 01:10"},
	} {
		l := limits.Limit{Interval: test.interval}
		if test.anchor != "" {
			l.Anchor = at(test.anchor, test.zone)
		}
		begin, end := l.Period(at(test.now, "UTC"))
		if want, until := at(test.begin, "UTC"), at(test.until, "UTC"); !begin.Equal(want) || !end.Equal(until) {
			t.Errorf("%+v at %s: got %v until %v, want %v until %v", test, test.now, begin.UTC(), end.UTC(), want, until)
		}
	}
}

// Periods follow one another without a gap, in zones of every kind.
func TestPeriodsFollow(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Paris", "America/Havana", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		for _, anchor := range []time.Time{time.Date(2024, 1, 1, 0, 0, 0, 0, loc), time.Date(2024, 1, 31, 2, 30, 0, 0, loc), time.Date(2024, 1, 30, 23, 59, 59, 0, loc)} {
			for interval := limits.Monthly; interval <= limits.Hourly; interval++ {
				l := limits.Limit{Interval: interval, Anchor: anchor}
				now := time.Date(2011, 12, 1, 0, 0, 0, 0, time.UTC)
				for range 900 {
					begin, end := l.Period(now)
					if begin.After(now) || !now.Before(end) {
						t.Fatalf("%+v: %v is not in %v until %v", l, now, begin, end)
					}
					if b, e := l.Period(end.Add(-time.Second)); !b.Equal(begin) || !e.Equal(end) {
						t.Fatalf("%+v: the last second of %v until %v is in %v until %v", l, begin, end, b, e)
					}
					now = end
				}
			}
		}
	}
}
