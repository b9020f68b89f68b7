package console_test

import (
	"context"
	"database/sql"
	"log"
	"net/http"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// All parts of the console. docs/webhooks.md and docs/console.md have this code.
func Example_allParts() {
	var (
		ctx     = context.Background()
		db      *sql.DB         // the database
		st      *sqlstore.Store // the Spool of q
		node    string          // q.Node
		sealing credentials.Password

		creds *credentials.Manager
		dom   *domains.Manager
		q     *queue.Queue
		lim   *limits.Limiter
		srv   *relay.Server

		mux        *http.ServeMux
		customerOf func(*http.Request) (store.TenantID, error)
		mayVisitor func(*http.Request, console.Action) error
		audit      func(*http.Request, console.Change)
	)

	requests := sqlstore.New(db, sqlstore.Postgres)
	requests.TablePrefix = "webhook_" // never the Spool of the relay's queue
	if err := requests.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	hooks := &webhook.Sender{Queue: queue.Queue{Spool: requests, Node: node}}
	endpoints := &webhook.Manager{Store: st, Sender: hooks, Secret: sealing}
	hooks.Endpoints, hooks.OnGone, hooks.OnAttempt = endpoints.Endpoints, endpoints.OnGone, endpoints.OnAttempt

	list := &suppress.List{Store: st, History: st}
	hist := &history.History{Store: st, Node: node, Publish: func(ctx context.Context, events []store.Event) error {
		if err := list.Learn(ctx, events); err != nil {
			return err
		}
		return hooks.Publish(ctx, events)
	}}

	pages := &console.Handler{
		Credentials:  creds,              // of the relay
		SMTPHost:     "smtp.example.com", // its name
		Tenant:       customerOf,         // who is signed in
		Domains:      dom,                // DNS records
		History:      hist,               // activity, statistics, what went wrong
		Queue:        q,                  // "Try now" and "Cancel"
		Limits:       lim,                // the bar of the quota
		Suppressions: list,               // the suppression list
		Webhooks:     endpoints,          // endpoints with their last requests
		Server:       srv,                // test messages
		May:          mayVisitor,         // who may do what
		OnChange:     audit,              // who did what
	}
	mux.Handle("/mail/", http.StripPrefix("/mail", pages))
}
