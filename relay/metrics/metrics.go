package metrics

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
)

// A Handler answers GET with the Stats of its parts in OpenMetrics text 1.0.0. It
// leaves out parts that are nil. The fields must not be changed after the first
// request.
//
// A Handler asks for no password. Serve it where only the monitoring reaches it.
type Handler struct {
	Server *relay.Server

	// Queue's Spool is asked in each request, for at most 5 seconds. If it fails,
	// gatepost_queue_spool_up is 0, and what the Spool holds is left out.
	Queue *queue.Queue

	// History's Store is asked in each request, for at most 5 seconds. If it fails,
	// gatepost_history_up is 0, and the rest is left out.
	History *history.History

	// Suppress is the list of suppressed addresses.
	Suppress *suppress.List

	// Receiver takes late bounces, and Bounces is the server that they come to. If
	// Receiver is nil, it is that of Bounces.
	Receiver *bounces.Receiver
	Bounces  *bounces.Server

	// Webhooks sends events to customers. The metrics of its queue need a second Handler,
	// with Queue: &sender.Queue.
	Webhooks *webhook.Sender
}

// spoolTimeout is how long the Spool may take. Prometheus waits 10 seconds.
const spoolTimeout = 5 * time.Second

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	var t text
	if h.Server != nil {
		t.server(h.Server.Stats())
	}
	if h.Queue != nil {
		ctx, cancel := context.WithTimeout(r.Context(), spoolTimeout)
		defer cancel()
		stats, err := h.Queue.Stats(ctx)
		t.queue(stats)
		t.spool(stats, err == nil)
	}
	if h.History != nil {
		ctx, cancel := context.WithTimeout(r.Context(), spoolTimeout)
		defer cancel()
		backlog, err := h.History.Backlog(ctx)
		t.history(backlog, err == nil)
	}
	if h.Suppress != nil {
		t.suppress(h.Suppress.Stats())
	}
	h.bounces(&t)
	if h.Webhooks != nil {
		t.counter("gatepost_webhooks_dropped", "Events that were left out because the Spool of the webhooks was full. If Publish is repeated, they may be sent after all.", h.Webhooks.Stats().Dropped)
	}
	t.WriteString("# EOF\n")
	w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
	w.Write(t.Bytes())
}

// server writes the metrics of a Server.
func (t *text) server(s relay.Stats) {
	t.gauge("gatepost_connections_open", "Connections that are open.", float64(s.Conns))
	t.gauge("gatepost_sessions_open", "Connections that are open and logged in.", float64(s.Sessions))

	t.family("gatepost_connections", "counter", "Connections that have ended, by what the server did with them.")
	t.sample("gatepost_connections_total", float64(s.ConnsEnded), "result", "served")
	t.sample("gatepost_connections_total", float64(s.ConnsRefused), "result", "refused")
	t.counter("gatepost_handshakes_failed", "TLS handshakes that failed.", s.HandshakesFailed)

	t.family("gatepost_logins", "counter", "Logins by result.")
	t.sample("gatepost_logins_total", float64(s.Logins), "result", "ok")
	t.loginsRefused(s.LoginsRefused)
	t.counter("gatepost_sessions_cut_off", "Sessions ended because their login no longer holds.", s.SessionsCutOff)
	t.counter("gatepost_commands_refused", "Commands refused, except those for logins and messages.", s.CommandsRefused)

	t.counter("gatepost_messages_accepted", "Messages answered 250.", s.Messages)
	t.counter("gatepost_recipients_accepted", "Recipients of messages answered 250.", s.Recipients)
	t.family("gatepost_messages_refused", "counter", "Messages or recipients refused, by what was refused and the SMTP reply code.")
	refusals := slices.SortedFunc(maps.Keys(s.MessagesRefused), func(a, b relay.Refusal) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), a.Code-b.Code)
	})
	for _, r := range refusals {
		t.sample("gatepost_messages_refused_total", float64(s.MessagesRefused[r]), "field", string(r.Field), "code", strconv.Itoa(r.Code))
	}
	t.histogram("gatepost_message_bytes", "Sizes of accepted messages.", s.MessageBytes)
	t.histogram("gatepost_forward_seconds", "How long the Forwarder took to accept messages. Clients wait for it.", s.ForwardSeconds)
}

// causes are the label values of refused logins.
var causes = map[relay.LoginCause]string{
	relay.CauseUnknownUser:     "unknown_user",
	relay.CauseWrongPassword:   "wrong_password",
	relay.CauseNotAllowed:      "not_allowed",
	relay.CauseForeignIdentity: "foreign_identity",
	relay.CauseNoTLS:           "no_tls",
	relay.CauseBusy:            "busy",
	relay.CauseUnavailable:     "unavailable",
	relay.CauseTooManyTries:    "too_many_tries",
	relay.CauseTooManyConns:    "too_many_conns",
	relay.CauseProtocol:        "protocol",
	relay.CauseNetwork:         "network",
}

// loginsRefused writes a sample for each cause, also if it is 0, so that a rate is
// right from the first one on.
func (t *text) loginsRefused(counts map[relay.LoginCause]int64) {
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		t.sample("gatepost_logins_total", float64(counts[cause]), "result", causes[cause])
	}
}

// queue writes the metrics of a Queue in this process.
func (t *text) queue(s queue.Stats) {
	t.family("gatepost_queue_events", "counter", "Events of this process, one for each recipient, also of bounces and other notices that the queue writes.")
	for _, e := range []struct {
		name string
		n    int64
	}{
		{"queued", s.Queued}, {"delivered", s.Delivered}, {"deferred", s.Deferred}, {"bounced", s.Bounced}, {"expired", s.Expired},
		{"held", s.Held}, {"released", s.Released}, {"retried", s.Retried}, {"canceled", s.Canceled},
	} {
		t.sample("gatepost_queue_events_total", float64(e.n), "event", e.name)
	}
	t.counter("gatepost_queue_suspensions", "Suspensions that this process has begun.", s.Suspended)
	t.counter("gatepost_queue_resumptions", "Suspensions that this process has ended.", s.Resumed)
	t.gauge("gatepost_queue_attempts_open", "Delivery attempts that this process makes now.", float64(s.Attempts))
	t.histogram("gatepost_queue_attempt_seconds", "How long delivery attempts took.", s.AttemptSeconds)
	t.histogram("gatepost_queue_delivery_seconds", "Ages of messages when they were delivered to a recipient.", s.DeliverySeconds)
}

// spool writes what the Spool holds. It is the same on all nodes.
func (t *text) spool(s queue.Stats, up bool) {
	if !up {
		t.gauge("gatepost_queue_spool_up", "Whether the spool answers.", 0)
		return
	}
	t.gauge("gatepost_queue_spool_up", "Whether the spool answers.", 1)
	t.family("gatepost_queue_deliveries", "gauge", "Recipients in the spool by state. Those that are waiting include those being sent.")
	t.sample("gatepost_queue_deliveries", float64(s.Depth.Deliveries-s.Depth.Held), "state", "waiting")
	t.sample("gatepost_queue_deliveries", float64(s.Depth.Held), "state", "held")
	t.gauge("gatepost_queue_oldest_seconds", "Age of the oldest message in the spool, 0 if there is none.", age(s.Depth.Oldest))
	t.suspended(s.Suspensions)
}

func (t *text) suspended(list []store.Suspension) {
	type kind struct{ what, by string }
	counts := make(map[kind]int)
	for _, s := range list {
		k := kind{"destination", "relay"}
		if s.Tenant != "" {
			k.what = "tenant"
		}
		if s.By != "" {
			k.by = "person"
		}
		counts[k]++
	}
	t.family("gatepost_queue_suspended", "gauge", "Destinations and tenants that are suspended, by whom.")
	for _, k := range []kind{{"destination", "relay"}, {"destination", "person"}, {"tenant", "person"}} {
		t.sample("gatepost_queue_suspended", float64(counts[k]), "what", k.what, "by", k.by)
	}
}

// history writes how much waits to be applied. It is the same on all nodes.
func (t *text) history(j store.Journal, up bool) {
	const help = "Whether the store of the history answers."
	if !up {
		t.gauge("gatepost_history_up", help, 0)
		return
	}
	t.gauge("gatepost_history_up", help, 1)
	t.gauge("gatepost_history_records", "Records of events that wait to be applied.", float64(j.Records))
	t.gauge("gatepost_history_oldest_seconds", "Age of the oldest record that waits, 0 if there is none.", age(j.Oldest))
}

// age returns how many seconds ago a time was; 0 if it is zero.
func age(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return max(0, time.Since(at).Seconds())
}
