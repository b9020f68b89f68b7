package history

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// The steps of a period are its days in the zone, without gaps, whatever the zone does.
func TestSteps(t *testing.T) {
	const layout = "01-02T15:04Z0700"
	for _, test := range []struct {
		name   string
		zone   string
		days   int
		now    string
		steps  []string // when they begin, in the zone
		hours  int      // of the period
		before string   // when the period before begins
	}{
		{"UTC", "UTC", 2, "2026-03-14T12:30:00Z", []string{"03-13T00:00Z", "03-14T00:00Z"}, 37, "03-11T00:00Z"},
		{"full hour", "UTC", 1, "2026-03-14T12:00:00Z", []string{"03-14T00:00Z"}, 13, "03-13T00:00Z"},
		{"midnight, zero days", "UTC", 0, "2026-03-14T00:00:00Z", []string{"03-14T00:00Z"}, 1, "03-13T00:00Z"},
		{"the short day", "Europe/Paris", 3, "2026-03-30T09:30:00Z", []string{"03-28T00:00+0100", "03-29T00:00+0100", "03-30T00:00+0200"}, 59, "03-25T00:00+0100"},
		{"the long day", "America/Montreal", 3, "2026-11-02T16:59:59Z", []string{"10-31T00:00-0400", "11-01T00:00-0400", "11-02T00:00-0500"}, 61, "10-28T00:00-0400"},
		{"India", "Asia/Kolkata", 2, "2026-03-14T12:10:00Z", []string{"03-12T23:30+0530", "03-13T23:30+0530"}, 43, "03-10T23:30+0530"},
		{"Nepal", "Asia/Kathmandu", 2, "2026-03-14T12:10:00Z", []string{"03-12T23:45+0545", "03-13T23:45+0545"}, 43, "03-10T23:45+0545"},
		{"no midnight", "America/Sao_Paulo", 2, "2017-10-15T11:59:59Z", []string{"10-14T00:00-0300", "10-15T01:00-0200"}, 33, "10-12T00:00-0300"},
		{"two midnights in the east", "Asia/Amman", 2, "2021-10-29T09:30:00Z", []string{"10-28T00:00+0300", "10-29T00:00+0300"}, 37, "10-26T00:00+0300"},
		{"two midnights", "America/Havana", 2, "2026-11-01T16:30:00Z", []string{"10-31T00:00-0400", "11-01T00:00-0400"}, 37, "10-29T00:00-0400"},
	} {
		t.Run(test.name, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, test.now)
			if err != nil {
				t.Fatal(err)
			}
			h := &History{Store: new(memory.Store)}
			s, err := h.Tenant("acme").Statistics(t.Context(), Last(test.days, now, zone(t, test.zone)), "", "")
			if err != nil {
				t.Fatal(err)
			}
			var begin []string
			at := s.Period.From
			for _, step := range s.Steps {
				begin = append(begin, step.From.Format(layout))
				if !step.From.Equal(at) {
					t.Errorf("a step begins at %v, want %v", step.From, at)
				}
				at = step.Until
			}
			if fmt.Sprint(begin) != fmt.Sprint(test.steps) {
				t.Errorf("steps begin at %v, want %v", begin, test.steps)
			}
			if !at.Equal(s.Period.Until) || !at.After(now) || at.Sub(now) > time.Hour {
				t.Errorf("the last step ends at %v, the period at %v", at, s.Period.Until)
			}
			if got := s.Period.Until.Sub(s.Period.From); got != time.Duration(test.hours)*time.Hour {
				t.Errorf("the period has %v, want %d h", got, test.hours)
			}
			if got := s.Previous.From.Format(layout); got != test.before {
				t.Errorf("the period before begins at %s, want %s", got, test.before)
			}
			if s.Previous.Until.After(s.Period.From) {
				t.Errorf("the period before ends at %v", s.Previous.Until)
			}
		})
	}
}

// After 23:30 in India the present day has one step, although what comes in now will count
// for the next day. The period before is that of the day before.
func TestStepsBeforeMidnight(t *testing.T) {
	for _, test := range []struct{ zone, now string }{
		{"Asia/Kolkata", "2026-03-14T23:40:00+05:30"}, {"Asia/Kathmandu", "2026-03-14T23:50:00+05:45"}, {"America/St_Johns", "2026-03-14T23:30:00-02:30"},
	} {
		now, err := time.Parse(time.RFC3339, test.now)
		if err != nil {
			t.Fatal(err)
		}
		for days := range 3 {
			days++
			p, err := Last(days, now, zone(t, test.zone)).check()
			if err != nil {
				t.Fatal(err)
			}
			steps := p.steps(now)
			if len(steps) != days {
				t.Fatalf("%s: %d days have %d steps: %v", test.zone, days, len(steps), steps)
			}
			last := steps[days-1]
			if day := last.From.Add(time.Hour - 1).Day(); day != 14 || !last.Until.Equal(p.Until) || last.Until.Sub(last.From) != 25*time.Hour {
				t.Errorf("%s: the last step is of day %d, from %v until %v", test.zone, day, last.From, last.Until)
			}
			if got := p.before(); got.From.Add(time.Hour-1).In(p.Location).Day() != 14-2*days+1 || !got.Until.Equal(p.From) {
				t.Errorf("%s: the period before %d days is from %v until %v", test.zone, days, got.local().From, got.local().Until)
			}
			if after := p.steps(now.Add(time.Hour)); len(after) != days+1 || !after[days].Until.Equal(p.Until) {
				t.Errorf("%s: an hour later the same period has the steps %v", test.zone, after)
			}
		}
	}
}

// Each hour is counted in exactly one step, and in the period it belongs to.
func TestStatistics(t *testing.T) {
	h := &History{Store: new(memory.Store)}
	for hour := range 24 * 10 { // from 4 March 12:00 to 14 March 12:00
		l := newLife(fmt.Sprintf("m%d", hour), 0)
		l.base.Received = noon.Add(-time.Duration(hour+1) * time.Hour)
		if hour%2 == 1 {
			l.base.Domain, l.base.Username = "acme.test", "u2"
		}
		put(t, h.Store, l.then(store.EventAccepted, 0).then(store.EventDelivered, 5).events...)
	}
	other := newLife("other", 0)
	other.base.Tenant = "globex"
	put(t, h.Store, other.then(store.EventAccepted, 0).events...)
	activities(t, h, store.ActivityFilter{})
	acme := h.Tenant("acme")

	for _, hourly := range []bool{false, true} {
		p := Last(3, noon.Add(-time.Minute), zone(t, "Asia/Kolkata"))
		p.Hourly = hourly
		s, err := acme.Statistics(t.Context(), p, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if s.Total.Accepted != 66 || s.Total.Delivered != 66 || s.Before.Accepted != 66 { // from 11 March 18:00 UTC
			t.Errorf("hourly %v: total %+v, before %+v, want 66", hourly, s.Total, s.Before)
		}
		sum := int64(0)
		for _, step := range s.Steps {
			sum += step.Accepted
			if hours := step.Until.Sub(step.From).Hours(); step.Accepted != int64(hours) {
				t.Errorf("hourly %v: step %v has %d, want %v", hourly, step.From, step.Accepted, hours)
			}
		}
		if want := map[bool]int{false: 3, true: 66}[hourly]; sum != 66 || len(s.Steps) != want {
			t.Errorf("hourly %v: %d steps have %d, want %d and 66", hourly, len(s.Steps), sum, want)
		}
	}
	p := Period{From: noon.Add(-24 * time.Hour), Until: noon}
	if s, err := acme.Statistics(t.Context(), p, "acme.test", ""); err != nil || s.Total.Accepted != 12 || s.Before.Accepted != 12 {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := acme.Statistics(t.Context(), p, "", "u1"); err != nil || s.Total.Accepted != 12 {
		t.Errorf("%+v, %v", s, err)
	}
	if list, err := acme.Domains(t.Context(), p); err != nil || len(list) != 2 || list[0].Domain != "acme.example" || list[0].Accepted != 12 {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := acme.Users(t.Context(), p, "acme.test"); err != nil || len(list) != 1 || list[0].Username != "u2" || list[0].Accepted != 12 {
		t.Errorf("%+v, %v", list, err)
	}
	for want, p := range map[string]Period{
		"is empty":       {From: noon, Until: noon},
		"begin it later": {From: noon.AddDate(-3, 0, 0), Until: noon, Hourly: true},
		"10000 steps":    {From: noon.AddDate(-27, 0, 0), Until: noon},
		"needs From":     {Until: noon},
		"and Until":      {From: noon},
	} {
		if _, err := acme.Statistics(t.Context(), p, "", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want an error with %q", p, err, want)
		}
	}
}

func TestRate(t *testing.T) {
	for _, test := range []struct {
		n, of int64
		want  float64
	}{{0, 0, 0}, {5, 0, 0}, {1, 4, 25}, {4, 4, 100}, {-1, 4, 0}} {
		if got := Rate(test.n, test.of); got != test.want {
			t.Errorf("Rate(%d, %d) = %v, want %v", test.n, test.of, got, test.want)
		}
	}
}
