package console

import (
	"strconv"
	"time"

	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/store"
)

// A chart has stacked bars of the recipients that were accepted, one for each step of a
// period. Refusals are not in it: a tool that tries again each second would make all other
// bars too small. Widths are in percent, so
// that the chart is as wide as its page, and heights and texts are in pixels, so that
// texts can be read on a phone.
type chart struct {
	Height int // of the whole picture
	Plot   int // of the bars; the labels of the axis of time are below
	Bars   []bar
	Ticks  []tick  // of the axis of numbers
	Labels []label // of the axis of time
	Hourly bool
	Group  int // how many steps a bar adds up; 1 unless there are very many
}

const (
	plotTop    = 12 // so that the uppermost text is inside
	plotHeight = 180
	axisHeight = 26

	maxBars   = 62 // of more steps, some become one bar
	maxLabels = 5  // fit on the narrowest phone
)

// A bar is a step of a chart, or several.
type bar struct {
	From, Until time.Time
	store.Count
	Text     string // when it was
	X, Width string
	Segments []segment // from the bottom
}

// Waiting returns how many recipients of a bar are neither delivered nor given up.
func (b bar) Waiting() int64 { return waitingOf(&b.Count) }

func waitingOf(c *store.Count) int64 {
	return max(0, c.Accepted-c.Delivered-c.SoftBounced-c.HardBounced-c.Canceled)
}

// A segment is a part of a bar.
type segment struct {
	Class     string
	Y, Height string
}

// A tick is a round number on an axis, with a line.
type tick struct {
	Y    string
	Text string
}

// A label is a text below the bars. Anchor is start, middle or end.
type label struct {
	X, Text, Anchor string
}

func (req *request) newChart(s history.Statistics) chart {
	c := chart{Height: plotTop + plotHeight + axisHeight, Plot: plotTop + plotHeight, Hourly: s.Period.Hourly, Group: 1}
	for len(s.Steps) > maxBars*c.Group {
		c.Group = max(7, c.Group*2) // weeks
	}
	c.Bars = req.bars(s.Steps, c.Group, c.Hourly)
	highest := int64(0)
	for i := range c.Bars {
		highest = max(highest, c.Bars[i].Accepted)
	}
	step, top := roundAxis(highest)
	for n := int64(0); n <= top; n += step {
		c.Ticks = append(c.Ticks, tick{px(plotTop + plotHeight*(1-float64(n)/float64(top))), req.Short(n)})
	}
	width := 100 / float64(max(1, len(c.Bars)))
	for i := range c.Bars {
		b := &c.Bars[i]
		b.X, b.Width = percent((float64(i)+0.1)*width), percent(0.8*width)
		b.Segments = segments(&b.Count, top)
	}
	c.Labels = labels(c.Bars, width)
	return c
}

// bars adds up steps, as many as group for each bar.
func (req *request) bars(steps []history.Step, group int, hourly bool) (list []bar) {
	for i := 0; i < len(steps); i += group {
		last := min(i+group, len(steps)) - 1
		b := bar{From: steps[i].From, Until: steps[last].Until}
		for _, s := range steps[i : last+1] {
			b.Add(s.Count)
		}
		switch {
		case hourly:
			b.Text = b.From.In(req.loc).Format("15:04")
		default:
			b.Text = req.Day(firstOf(b.From))
		}
		list = append(list, b)
	}
	return list
}

// roundAxis returns the distance of the lines of an axis up to at least highest: 1, 2 or
// 5 times a power of ten, so that there are at most five lines above zero. top is the
// last line.
func roundAxis(highest int64) (step, top int64) {
	highest = max(highest, 1)
	for power := int64(1); ; power *= 10 {
		for _, first := range []int64{1, 2, 5} {
			if step = first * power; (highest+step-1)/step <= 5 {
				return step, (highest + step - 1) / step * step
			}
		}
	}
}

// segments returns the parts of a bar. A part that is not zero has at least one pixel.
func segments(c *store.Count, top int64) (list []segment) {
	y := float64(plotTop + plotHeight)
	for _, part := range []struct {
		class string
		n     int64
	}{
		{"delivered", c.Delivered}, {"waiting", waitingOf(c)}, {"bounced", c.SoftBounced + c.HardBounced}, {"canceled", c.Canceled},
	} {
		if part.n <= 0 {
			continue
		}
		height := max(1, plotHeight*float64(part.n)/float64(top))
		y -= height
		list = append(list, segment{part.class, px(y), px(height)})
	}
	return list
}

// labels returns at most maxLabels texts for the axis of time, in equal distances.
func labels(bars []bar, width float64) (list []label) {
	every := (len(bars) + maxLabels - 1) / maxLabels
	for i := 0; i < len(bars); i += max(1, every) {
		l := label{percent((float64(i) + 0.5) * width), bars[i].Text, "middle"}
		if width < 12 { // the first one would be cut off
			l.X, l.Anchor = percent((float64(i)+0.1)*width), "start"
		}
		list = append(list, l)
	}
	return list
}

func percent(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "%" }

func px(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }
