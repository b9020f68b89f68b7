package console_test

import (
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// In a zone that is off by half an hour the statistics of three days have three rows, each
// with the name of its day and a link to that day.
func TestStatisticsInIndia(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	india := must(time.LoadLocation("Asia/Kolkata"))
	f.console.Design.Location = func(*http.Request) *time.Location { return india }
	var days, names []string
	for ago := 22; ago >= 20; ago-- {
		day := time.Now().In(india).AddDate(0, 0, -ago)
		days, names = append(days, day.Format(time.DateOnly)), append(names, day.Format("2 Jan"))
	}
	page := f.get("statistics?from=" + days[0] + "&until=" + days[2])
	f.want(page, 200, names[0]+" to "+names[2])
	var links []string
	for _, found := range regexp.MustCompile(`href="[^"]*activity\?([^"]*)">`+`[^<]*<`).FindAllStringSubmatch(page.body, -1) {
		links = append(links, html.UnescapeString(found[1]))
	}
	for _, day := range days {
		if want := "from=" + day + "&until=" + day; !slices.Contains(links, want) {
			t.Errorf("got the links %q, want %q", links, want)
		}
	}
	_, document := f.read("statistics?from=" + days[0] + "&until=" + days[2])
	if steps, _ := document["steps"].([]any); len(steps) != 3 {
		t.Errorf("got %d steps, want three: %v", len(steps), steps)
	}
}

// After 23:30 in India no row and no title has the name of the next day.
func TestStatisticsBeforeMidnightInIndia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.withHistory()
		india := must(time.LoadLocation("Asia/Kolkata"))
		f.console.Design.Location = func(*http.Request) *time.Location { return india }
		time.Sleep(time.Until(time.Date(2000, 1, 10, 23, 40, 0, 0, india)))
		for query, want := range map[string]string{"period=today": "<h2>10 Jan</h2>", "period=7": "<h2>4 Jan to 10 Jan</h2>", "from=2000-01-09&until=2000-01-10": "<h2>9 Jan to 10 Jan</h2>"} {
			page := f.get("statistics?" + query)
			f.want(page, 200, want)
			if strings.Contains(page.body, "11 Jan") || strings.Contains(page.body, "2000-01-11") {
				t.Errorf("%s has the next day:\n%s", query, page.body)
			}
		}
		f.want(f.get("statistics?period=7"), 200, "28 Dec 1999 to 3 Jan", "from=2000-01-10&amp;until=2000-01-10")
	})
}

// A custom period without a first or a last day has no such bound. Statistics need a first
// day that is neither in the future nor before 1970.
func TestOpenPeriods(t *testing.T) {
	f := newFixture(t)
	f.withHistory()
	f.some()
	today := time.Now().UTC()
	day := func(ahead int) string { return today.AddDate(0, 0, ahead).Format(time.DateOnly) }
	for query, want := range sorted(map[string]int{
		"until=" + day(1):                      4,
		"until=" + day(-2):                     0,
		"from=" + day(-2):                      4,
		"from=9999-12-31":                      0,
		"from=1960-01-01":                      4,
		"from=1960-01-01&until=" + day(1):      4,
		"from=" + day(1) + "&until=" + day(-2): 4,
	}) {
		page := f.get("activity?" + query)
		if got := len(recipients(page)); page.Code != 200 || got != want {
			t.Errorf("activity?%s: got status %d and %d rows, want %d", query, page.Code, got, want)
		}
	}
	for query, want := range sorted(map[string]string{
		"until=" + day(0): "at most 400 days", "from=9999-12-31": "in the future", "from=1960-01-01&until=1960-02-01": "before 1970",
		"from=0001-01-01&until=0001-01-02": "before 1970", "from=x&until=2026-01-01": "such as",
	}) {
		r := f.get("statistics?"+query, program)
		f.want(r, http.StatusUnprocessableEntity, want, `"field":"from"`)
	}
	page := f.get("statistics?from=" + day(-2))
	f.want(page, 200, `value="`+day(-2)+`"`)
	if strings.Contains(f.log.String(), "request failed") {
		t.Errorf("got an error in the log, want none:\n%s", f.log)
	}
}
