package metrics

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatepost-mail/gatepost/relay"
)

// A text is a page of OpenMetrics text, version 1.0.0.
type text struct{ bytes.Buffer }

// family begins a metric. Its name ends with its unit, if it has one.
func (t *text) family(name, kind, help string) {
	fmt.Fprintf(t, "# TYPE %s %s\n", name, kind)
	for _, unit := range []string{"seconds", "bytes"} {
		if strings.HasSuffix(name, "_"+unit) {
			fmt.Fprintf(t, "# UNIT %s %s\n", name, unit)
		}
	}
	fmt.Fprintf(t, "# HELP %s %s\n", name, help)
}

func (t *text) gauge(name, help string, v float64) {
	t.family(name, "gauge", help)
	t.sample(name, v)
}

func (t *text) counter(name, help string, n int64) {
	t.family(name, "counter", help)
	t.sample(name+"_total", float64(n))
}

func (t *text) histogram(name, help string, h relay.Histogram) {
	t.family(name, "histogram", help)
	n := int64(0)
	for i, bound := range h.Bounds {
		n += h.Counts[i]
		t.sample(name+"_bucket", float64(n), "le", canonical(bound))
	}
	n += h.Counts[len(h.Bounds)]
	t.sample(name+"_bucket", float64(n), "le", "+Inf")
	t.sample(name+"_count", float64(n))
	t.sample(name+"_sum", h.Sum)
}

// sample writes a value. The labels are names and values in turn. The values are
// from this program, and need no escapes.
func (t *text) sample(name string, v float64, labels ...string) {
	t.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		before := ","
		if i == 0 {
			before = "{"
		}
		t.WriteString(before + labels[i] + `="` + labels[i+1] + `"`)
	}
	if len(labels) > 0 {
		t.WriteByte('}')
	}
	t.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

// canonical returns a limit of a bucket as OpenMetrics wants it, so that the same
// limit always is the same label.
func canonical(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}
