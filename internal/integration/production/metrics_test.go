package production_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/integration/services"
)

// parse reads OpenMetrics text with the strict parser of Prometheus's client for
// Python, and prints each sample.
const parse = `
import sys
from prometheus_client.openmetrics.parser import text_fd_to_metric_families as read
for family in read(sys.stdin):
    for s in family.samples:
        print(s.name, s.labels, float(s.value))
`

// The program serves metrics on an address of its own if it is told so.
func TestMetrics(t *testing.T) {
	python := ""
	for _, path := range []string{services.Program(t, "python3"), "/usr/bin/python3"} {
		if python == "" && exec.Command(path, "-c", "import prometheus_client").Run() == nil {
			python = path
		}
	}
	if python == "" {
		services.Missing(t, fmt.Errorf("Python lacks the package prometheus_client"))
	}
	p := newProgram(t)
	p.env["GATEPOST_LISTEN_METRICS"], _ = freeAddrs(t)
	p.start(t)
	u := p.addUser(t)
	c, _ := p.connect(t, true)
	if err := u.begin(t, c).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("shop@other.example"); err == nil {
		t.Error("a sender at another domain is accepted")
	}
	p.delivered(t, 1)

	r, err := http.Get("http://" + p.env["GATEPOST_LISTEN_METRICS"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	read := exec.Command(python, "-c", parse)
	read.Stdin = r.Body
	out, err := read.CombinedOutput()
	if err != nil {
		t.Fatalf("the parser says: %v\n%s", err, out)
	}
	for _, want := range []string{
		"gatepost_sessions_open {} 1.0", "gatepost_messages_accepted_total {} 1.0", "gatepost_queue_spool_up {} 1.0",
		"gatepost_messages_refused_total {'field': 'MAIL FROM', 'code': '550'} 1.0",
		"gatepost_queue_events_total {'event': 'queued'} 1.0", "gatepost_message_bytes_count {} 1.0",
		"gatepost_history_up {} 1.0",
	} {
		if !strings.Contains("\n"+string(out), "\n"+want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	p.terminate(t)
	if status := p.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
