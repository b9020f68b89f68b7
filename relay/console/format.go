package console

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// This file writes numbers, days and times in the visitor's language.

// Number returns a whole number with marks between thousands.
func (req *request) Number(n int64) string {
	if n < 0 {
		return "−" + req.Number(-n)
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + req.T("number.thousands") + s[i:]
	}
	return s
}

// Count is Number for an int.
func (req *request) Count(n int) string { return req.Number(int64(n)) }

// Short returns a round number for the axis of a chart, such as 20k.
func (req *request) Short(n int64) string {
	switch {
	case n >= 1_000_000 && n%100_000 == 0:
		return req.T("number.millions", req.decimal(float64(n)/1e6))
	case n >= 10_000 && n%1000 == 0:
		return req.T("number.kilo", req.Number(n/1000))
	}
	return req.Number(n)
}

// decimal returns a number with one digit behind the point, or none if that is 0.
func (req *request) decimal(x float64) string {
	s := strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
	whole, part, ok := strings.Cut(s, ".")
	if n, err := strconv.ParseInt(whole, 10, 64); err == nil && n != 0 {
		whole = req.Number(n)
	}
	if ok {
		return whole + req.T("number.point") + part
	}
	return whole
}

// Percent returns a percentage such as 97.5%. What is more than 0 is not shown as 0, and
// what is less than 100 not as 100.
func (req *request) Percent(x float64) string {
	switch {
	case x > 0 && x < 0.05:
		return req.T("number.below", req.T("number.percent", req.decimal(0.1)))
	case x > 99.95 && x < 100:
		return req.T("number.above", req.T("number.percent", req.decimal(99.9)))
	}
	return req.T("number.percent", req.decimal(x))
}

// Bytes returns a size such as 1.4 MB.
func (req *request) Bytes(n int64) string {
	for _, unit := range []struct {
		size int64
		key  string
	}{{1_000_000_000, "size.gb"}, {1_000_000, "size.mb"}, {1000, "size.kb"}} {
		if n >= unit.size {
			return req.T(unit.key, req.decimal(float64(n)/float64(unit.size)))
		}
	}
	return req.T("size.b", req.Number(n))
}

// month returns the short name of a month.
func (req *request) month(m time.Month) string {
	names := strings.Fields(req.T("time.months"))
	if len(names) != 12 {
		return fmt.Sprintf("%02d", int(m))
	}
	return names[m-1]
}

// Day returns a day such as 30 Nov, with the year if that is not the present one.
func (req *request) Day(t time.Time) string {
	t = t.In(req.loc)
	day, year := strconv.Itoa(t.Day()), strconv.Itoa(t.Year())
	if t.Year() != time.Now().In(req.loc).Year() {
		return req.T("time.day-year", day, req.month(t.Month()), year)
	}
	return req.T("time.day", day, req.month(t.Month()))
}

// Time returns the day and the time of day, to the second.
func (req *request) Time(t time.Time) string {
	return req.T("time.at", req.Day(t), t.In(req.loc).Format("15:04:05"))
}

// When returns how long ago a time of the last hour was, and otherwise the day and the
// time of day.
func (req *request) When(t time.Time) string {
	if ago := time.Since(t); ago >= 0 && ago < time.Hour {
		return req.relative(ago, t)
	}
	return req.T("time.at", req.Day(t), t.In(req.loc).Format("15:04"))
}

// Zone returns the name of the visitor's time zone.
func (req *request) Zone() string {
	if name := req.loc.String(); name != "Local" {
		return name
	}
	return time.Now().In(req.loc).Format("MST")
}

// ISO returns a time for the attribute of a time element.
func (req *request) ISO(t time.Time) string { return t.In(req.loc).Format(time.RFC3339) }

// Exact returns a time with its zone.
func (req *request) Exact(t time.Time) string {
	return t.In(req.loc).Format("2006-01-02 15:04:05 MST")
}

// Length returns a span of time in days, hours or minutes: the largest of which it is a
// whole number.
func (req *request) Length(d time.Duration) string {
	d = max(d.Round(time.Minute), time.Minute)
	unit, name := time.Minute, "minute"
	switch {
	case d%(24*time.Hour) == 0:
		unit, name = 24*time.Hour, "day"
	case d%time.Hour == 0:
		unit, name = time.Hour, "hour"
	}
	n := int64(d / unit)
	if n > 1 {
		name += "s"
	}
	return req.T("length."+name, req.Number(n))
}
