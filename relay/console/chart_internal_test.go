package console

import (
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// zone returns a request of a visitor in a time zone, with a query.
func zone(t *testing.T, name, query string) *request {
	t.Helper()
	d := new(Design)
	return &request{
		site: &site{design: d}, r: httptest.NewRequest("GET", "/statistics?"+query, nil),
		lang: must(d.loadTexts())["en"], loc: must(time.LoadLocation(name)),
	}
}

// The lines of an axis are round numbers, there are at most five above zero, and the last
// one is not below the highest bar.
func TestRoundAxis(t *testing.T) {
	for highest, want := range map[int64][2]int64{
		0: {1, 1}, 1: {1, 1}, 5: {1, 5}, 6: {2, 6}, 10: {2, 10}, 11: {5, 15}, 49: {10, 50}, 51: {20, 60}, 999: {200, 1000}, 1001: {500, 1500}, 1_000_000: {200_000, 1_000_000},
	} {
		if step, top := roundAxis(highest); step != want[0] || top != want[1] {
			t.Errorf("%d: got lines every %d up to %d, want every %d up to %d", highest, step, top, want[0], want[1])
		}
	}
}

// Bars begin at the bottom and end where the axis says, beside each other, and what is
// not zero can be seen.
func TestChart(t *testing.T) {
	req := zone(t, "UTC", "")
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	s := history.Statistics{}
	for day := range 30 {
		at := from.AddDate(0, 0, day)
		s.Steps = append(s.Steps, history.Step{From: at, Until: at.AddDate(0, 0, 1), Count: store.Count{Accepted: 1000, Delivered: 990, SoftBounced: 1, HardBounced: 1, Canceled: 1, Rejected: 1_000_000}})
	}
	c := req.newChart(s)
	number := func(s string) float64 { return must(strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)) }
	if len(c.Bars) != 30 || len(c.Labels) > maxLabels || c.Ticks[len(c.Ticks)-1].Text != "1,000" {
		t.Fatalf("got %d bars, %d labels and the ticks %v", len(c.Bars), len(c.Labels), c.Ticks)
	}
	for i, b := range c.Bars {
		bottom := float64(plotTop + plotHeight)
		for _, s := range b.Segments {
			if height := number(s.Height); height < 1 {
				t.Errorf("bar %d: %s is %v pixels high, want at least 1", i, s.Class, height)
			}
			if got := number(s.Y) + number(s.Height); got > bottom+0.2 || got < bottom-0.2 {
				t.Errorf("bar %d: %s ends at %v, want %v", i, s.Class, got, bottom)
			}
			bottom = number(s.Y)
		}
		if b.Waiting() != 7 || len(b.Segments) != 4 {
			t.Errorf("bar %d: got %d that wait and the parts %v", i, b.Waiting(), b.Segments)
		}
		if right := number(b.X) + number(b.Width); right > 100 || i+1 < len(c.Bars) && right > number(c.Bars[i+1].X) {
			t.Errorf("bar %d ends at %v%%, want it before the next one", i, right)
		}
	}
	for len(s.Steps) < 400 {
		s.Steps = append(s.Steps, s.Steps...)
	}
	c = req.newChart(s)
	sum := int64(0)
	for _, b := range c.Bars {
		sum += b.Accepted
	}
	if len(c.Bars) > maxBars || sum != int64(len(s.Steps))*1000 || c.Group%7 != 0 {
		t.Errorf("got %d bars of %d days with %d recipients, want at most %d of weeks with %d", len(c.Bars), c.Group, sum, maxBars, len(s.Steps)*1000)
	}
	if empty := req.newChart(history.Statistics{}); len(empty.Ticks) != 2 || len(empty.Bars) != 0 {
		t.Errorf("got %v for nothing, want an axis up to 1", empty)
	}
}

// Days of a custom period are those of the visitor: with 23 or 25 hours where clocks
// change, and from 1 o'clock where there is no midnight.
func TestCustomPeriod(t *testing.T) {
	for _, test := range []struct{ zone, query, from, until string }{
		{"Europe/Paris", "from=2026-03-29&until=2026-03-29", "2026-03-28T23:00Z", "2026-03-29T22:00Z"},
		{"Europe/Paris", "from=2026-10-25&until=2026-10-25", "2026-10-24T22:00Z", "2026-10-25T23:00Z"},
		{"America/Havana", "from=2026-03-08&until=2026-03-08", "2026-03-08T05:00Z", "2026-03-09T04:00Z"},
		{"Asia/Kolkata", "from=2026-02-28&until=2026-03-01", "2026-02-27T18:30Z", "2026-03-01T18:30Z"},
		{"UTC", "from=2024-02-29&until=2024-02-28", "2024-02-28T00:00Z", "2024-03-01T00:00Z"},
		{"UTC", "period=custom&until=2024-02-28", "0001-01-01T00:00Z", "2024-02-29T00:00Z"}, // the first moment is no bound
	} {
		p, err := zone(t, test.zone, test.query).period("7")
		const layout = "2006-01-02T15:04Z"
		if got := []string{p.From.UTC().Format(layout), p.Until.UTC().Format(layout)}; err != nil || !slices.Equal(got, []string{test.from, test.until}) {
			t.Errorf("%s %s: got %q, %v, want %s until %s", test.zone, test.query, got, err, test.from, test.until)
		}
	}
}

// The periods up to now begin when a day of the visitor does. Yesterday ends when today
// begins.
func TestPeriods(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata"} {
		req := zone(t, name, "period=today")
		today := must(req.period(""))
		yesterday := must(zone(t, name, "period=yesterday").period(""))
		week := must(zone(t, name, "").period("7"))
		if h, m, _ := today.From.In(req.loc).Clock(); h != 0 || m != 0 || !yesterday.Until.Equal(today.From) || !today.Until.After(time.Now()) {
			t.Errorf("%s: got today %v and yesterday %v", name, today, yesterday)
		}
		if days := today.From.Sub(week.From).Round(24*time.Hour) / (24 * time.Hour); days != 6 || week.Name != "7" {
			t.Errorf("%s: the last 7 days begin %d days before today, want 6", name, days)
		}
	}
}

// Numbers are in the visitor's language. What is not nothing is not shown as 0, and what
// is not all is not shown as 100.
func TestNumbers(t *testing.T) {
	en := zone(t, "UTC", "")
	fr := zone(t, "UTC", "")
	fr.lang = must(fr.site.design.loadTexts())["fr"]
	for got, want := range map[string]string{
		en.Number(1234567): "1,234,567", fr.Number(1234567): "1\u202f234\u202f567", en.Number(999): "999", en.Number(-1000): "−1,000",
		en.Percent(97.25): "97.2%", fr.Percent(97.5): "97,5\u00a0%", en.Percent(0): "0%", en.Percent(0.001): "below 0.1%", en.Percent(99.999): "over 99.9%", en.Percent(100): "100%",
		en.Short(20_000): "20k", en.Short(1_500_000): "1.5M", en.Short(2000): "2,000", en.Bytes(18_400): "18.4 kB", fr.Bytes(999): "999 octets",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
