package metrics

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/metrics"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// The dashboard uses only metrics that the handler serves.
func TestDashboard(t *testing.T) {
	w := httptest.NewRecorder()
	h := &metrics.Handler{Server: new(relay.Server), Queue: &queue.Queue{Spool: new(memory.Store)}, Suppress: new(suppress.List), Receiver: new(bounces.Receiver)}
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	served := make(map[string]bool)
	for line := range strings.Lines(w.Body.String()) {
		if name, kind, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "# TYPE "), " "); ok && strings.HasPrefix(line, "# TYPE ") {
			for _, suffix := range map[string][]string{"counter": {"_total"}, "gauge": {""}, "histogram": {"_bucket", "_sum", "_count"}}[kind] {
				served[name+suffix] = true
			}
		}
	}

	source, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(source, &dashboard); err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			names := regexp.MustCompile(`gatepost_\w+`).FindAllString(target.Expr, -1)
			used += len(names)
			for _, name := range names {
				if !served[name] {
					t.Errorf("panel %q: %s is not served", p.Title, name)
				}
			}
		}
	}
	if used < 10 {
		t.Errorf("the dashboard uses %d metrics, want at least 10", used)
	}
}
