package metrics

import (
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/suppress"
)

// suppress writes the metrics of a List in this process.
func (t *text) suppress(s suppress.Stats) {
	t.family("gatepost_suppress_changes", "counter", "Addresses that replies have put on the list, and that deliveries have taken off it.")
	t.sample("gatepost_suppress_changes_total", float64(s.Learned), "change", "learned")
	t.sample("gatepost_suppress_changes_total", float64(s.Forgotten), "change", "forgotten")
	t.counter("gatepost_suppress_recipients_refused", "Recipients refused because they are on the list.", s.Refused)
	t.counter("gatepost_suppress_stops", "Sites that refused most recipients, so that nothing was learned there for an hour.", s.Stops)
	t.gauge("gatepost_suppress_remembered", "Addresses of the list in memory, and 16 for each tenant.", float64(s.Remembered))
}

// bounces writes the metrics of what takes late bounces in this process.
func (h *Handler) bounces(t *text) {
	r := h.Receiver
	if r == nil && h.Bounces != nil {
		r = h.Bounces.Receiver
	}
	if r != nil {
		t.receiver(r.Stats())
	}
	if h.Bounces != nil {
		s := h.Bounces.Stats()
		t.gauge("gatepost_bounces_connections_open", "Connections to the server for late bounces that are open.", float64(s.Conns))
		t.counter("gatepost_bounces_connections_refused", "Connections to it that were refused because there were too many.", s.ConnsRefused)
		t.counter("gatepost_bounces_addresses_refused", "Recipients that it refused: it takes mail for signed addresses only.", s.RecipientsRefused)
	}
}

func (t *text) receiver(s bounces.ReceiverStats) {
	t.family("gatepost_bounces_messages", "counter", "Messages to signed addresses, by what became of them.")
	t.sample("gatepost_bounces_messages_total", float64(s.Messages), "result", "taken")
	t.sample("gatepost_bounces_messages_total", float64(s.Refused), "result", "refused")
	t.sample("gatepost_bounces_messages_total", float64(s.Failed), "result", "failed")
	t.family("gatepost_bounces_recipients", "counter", "Recipients of reports: recorded (repeated reports and members of lists too), of a mail that is not in the history, or without a valid token.")
	t.sample("gatepost_bounces_recipients_total", float64(s.Recorded), "result", "recorded")
	t.sample("gatepost_bounces_recipients_total", float64(s.NotFound), "result", "not_found")
	t.sample("gatepost_bounces_recipients_total", float64(s.Unsigned), "result", "unsigned")
}
