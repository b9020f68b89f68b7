package console

import (
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

// An Operator serves the pages of those who run the relay: the mail of all tenants,
// what is held back and why, and what can be done about it. It is a handler of its own,
// for a place of the product that no tenant can reach. Set its fields before the first
// request and do not change them afterwards. If a required field is missing, every
// response has status 500 and the Logger gets the reason. An Operator is safe for
// concurrent use.
type Operator struct {
	// Queue is the queue of the relay, with its own Record, NoSubjects and all that a
	// bounce needs. Required.
	Queue *queue.Queue

	// By returns the name of the operator who is signed in, for suspensions, events and
	// the history of mail. If it returns an error or an empty name, the response has
	// status 403 and the Logger gets the error. Required, because without it every
	// visitor could read and remove the mail of all tenants.
	By func(*http.Request) (string, error)

	// History, if set, tells what became of mail that is not in the queue any more, and
	// how much waits to be applied.
	History *history.History

	// Credentials, if set, finds users and domains. Find a user first to see its mail:
	// the queue alone is read from its beginning.
	Credentials *credentials.Manager

	// Brakes returns what holds mail back in this process. It may add the Brakes of a
	// smarthost.Forwarder or an mx.Forwarder to those of the queue. Nil means those of
	// Queue. They say nothing about other processes.
	Brakes func() []relay.Brake

	// May, OnChange, Design, TrustedOrigins and Logger are as in [Handler].
	May            func(*http.Request, Action) error
	OnChange       func(*http.Request, Change)
	Design         Design
	TrustedOrigins []string
	Logger         *slog.Logger

	once   sync.Once
	site   site
	counts counts
}

// The parts of an [Operator], in the order of its navigation.
const (
	Overview Part = "overview" // how the queue is, and a search for users, domains and messages
	Queue    Part = "queue"    // what waits, by tenant and destination
)

// The actions of operators.
const (
	ViewQueue   Action = "view-queue"   // all pages of an Operator
	HoldQueue   Action = "hold-queue"   // hold and release deliveries
	RetryQueue  Action = "retry-queue"  // try deliveries now
	CancelQueue Action = "cancel-queue" // remove deliveries
	PauseQueue  Action = "pause-queue"  // suspend and resume destinations and tenants
)

// ServeHTTP implements [http.Handler].
func (o *Operator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.once.Do(o.prepare)
	o.site.serve(w, r, &request{op: o})
}

func (o *Operator) prepare() {
	o.site = site{
		design: &o.Design, logger: o.Logger, may: allow(o.May), onChange: o.OnChange, enter: (*request).enterOperator,
		err: o.missing(), product: "op.product", home: "overview",
	}
	o.site.choose([]Part{Overview, Queue}, operatorRoutes())
	o.site.prepare("gatepost operator", o.TrustedOrigins)
}

// missing returns which required field is not set.
func (o *Operator) missing() error {
	switch {
	case o.Queue == nil:
		return errors.New("console: Operator.Queue is required")
	case o.Queue.Spool == nil:
		return errors.New("console: Operator.Queue.Spool is required")
	case o.By == nil:
		return errors.New("console: Operator.By is required: it returns who is signed in")
	}
	return nil
}

// enterOperator finds out who the operator is.
func (req *request) enterOperator() error {
	by, err := req.op.By(req.r)
	if err == nil && by == "" {
		err = errors.New("console: Operator.By returned no name")
	}
	if err != nil {
		req.site.logger.WarnContext(req.ctx(), "console: visitor refused", "error", err)
		return errForbidden
	}
	req.admin = &queue.Admin{Queue: req.op.Queue, By: by}
	return nil
}

func operatorRoutes() []route {
	which := []input{{name: "tenant"}, {name: "destination"}, {name: "to"}, {name: "reason"}}
	change := append([]input{
		{name: "do"}, {name: "message"}, {name: "delivery"}, {name: "username"}, {name: "recipient"}, {name: "state"}, {name: "said"},
		{name: "all", kind: truth}, {name: "bounce", kind: truth}, {name: "after"}, {name: "done", kind: number}, {name: "busy", kind: number},
	}, which...)
	return []route{
		{path: "/", part: Overview, action: ViewQueue, first: true, get: (*request).overview},
		{path: "/search", part: Overview, action: ViewQueue, get: (*request).searchAll},
		{path: "/messages/{message}", part: Overview, action: ViewQueue, get: (*request).operatorMessage},
		{path: "/queue", part: Queue, action: ViewQueue, first: true, get: (*request).lanes},
		{path: "/deliveries", part: Queue, action: ViewQueue, get: (*request).deliveries},
		{path: "/deliveries/{delivery}", part: Queue, action: ViewQueue, get: (*request).delivery},
		{path: "/change", part: Queue, action: ViewQueue, get: (*request).changeForm, post: (*request).change, form: true, inputs: change},
		{path: "/pause", part: Queue, action: PauseQueue, get: (*request).pauseForm, post: (*request).pause, form: true, inputs: which},
		{path: "/resume", part: Queue, action: PauseQueue, get: (*request).resumeForm, post: (*request).resume, form: true, inputs: which},
	}
}

// brakes returns what holds mail back in this process.
func (o *Operator) brakes() []relay.Brake {
	if o.Brakes != nil {
		return o.Brakes()
	}
	return o.Queue.Brakes()
}
