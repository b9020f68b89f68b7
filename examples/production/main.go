// Production is a relay as a product runs it: users and the queue in PostgreSQL,
// mail handed to an upstream, a certificate that is renewed while it runs, and a
// graceful end. Any number of them may run on one database; what one leaves in
// the queue when it dies, the others deliver. All settings come from the
// environment:
//
//	GATEPOST_DATABASE_URL       a PostgreSQL database, as postgres://user:password@host/name
//	GATEPOST_HOSTNAME           the relay's name, by which clients know it
//	GATEPOST_CERTIFICATE        file with the certificate chain for that name, in PEM
//	GATEPOST_KEY                file with its key; both are read again when they change
//	GATEPOST_UPSTREAM           host:port that takes the mail; it has STARTTLS and a valid certificate
//	GATEPOST_UPSTREAM_USERNAME  login there (default: none)
//	GATEPOST_UPSTREAM_PASSWORD  its password
//	GATEPOST_MONTHLY_LIMIT      how many recipients each tenant may have in a month, in UTC (default: no limit)
//	GATEPOST_ZONE               zone of yours with the DKIM records of docs/domains.md (default: none, and
//	                            every domain sends, unsigned)
//	GATEPOST_ZONE_KEY           file with the RSA key of its selector gp1, in PEM
//	GATEPOST_WEBHOOK_URL        https URL that gets the events of all tenants, signed (default: none)
//	GATEPOST_WEBHOOK_SECRET     its secret, whsec_ and 32 random bytes in base64
//	GATEPOST_BOUNCE_DOMAIN      domain of yours for reports of late bounces, whose MX record leads to this relay
//	                            and whose SPF record allows the upstream; see docs/bounces.md (default: none)
//	GATEPOST_BOUNCE_SECRET      secret of at least 16 bytes that signs its addresses
//	GATEPOST_LISTEN_BOUNCES     address for these reports (default :25)
//	GATEPOST_LISTEN             address for STARTTLS (default :587)
//	GATEPOST_LISTEN_TLS         address for TLS from the first byte (default :465)
//	GATEPOST_LISTEN_METRICS     address for /metrics, and /metrics/webhooks for their queue, for your monitoring
//	                            only (default: none)
//	GATEPOST_LISTEN_OPERATORS   address for the pages of operators, over TLS (default: none)
//	GATEPOST_OPERATOR           the name with which an operator signs in there
//	GATEPOST_OPERATOR_PASSWORD  the password
//	GATEPOST_SHUTDOWN_TIMEOUT   how long messages in progress may take after SIGTERM (default 10s)
//
// After that, deliveries under way have 15 seconds more; those that they are too
// short for go on elsewhere, or after a restart.
//
// Tenants, domains and SMTP users are made by the product, by a
// [credentials.Manager] in this process or in another one on the same database. Its
// pages show what became of each message with a [history.History], and the suppressed
// recipients with a [suppress.List], on the same database. That process must not call
// History.Run without the Publish of this one. The example saas has such pages.
// The log is JSON on standard error, the exit status 1 after an error.
package main

import (
	"context"
	"crypto/tls"
	"database/sql"
	_ "embed"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/examples/internal/daemon"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/bounces"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/history"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/metrics"
	"github.com/gatepost-mail/gatepost/relay/queue"
	"github.com/gatepost-mail/gatepost/relay/smarthost"
	"github.com/gatepost-mail/gatepost/relay/suppress"
	"github.com/gatepost-mail/gatepost/relay/webhook"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/sqlstore"
)

// source begins with the comment that -help prints.
//
//go:embed main.go
var source string

// settings are what the environment says.
type settings struct {
	daemon.Settings
	databaseURL        string
	listenMetrics      string
	listenOperators    string
	operator           string
	operatorPassword   credentials.Password
	upstream, username string
	password           credentials.Password
	monthlyLimit       int64
	zone, zoneKey      string
	webhookURL         string
	webhookSecret      credentials.Password
	bounceDomain       string
	bounceSecret       credentials.Password
	listenBounces      string
}

func readSettings(env *daemon.Env) settings {
	s := settings{databaseURL: env.Need("GATEPOST_DATABASE_URL", "the URL of a PostgreSQL database")}
	if _, err := pgx.ParseConfig(s.databaseURL); err != nil && s.databaseURL != "" {
		env.Wrong("GATEPOST_DATABASE_URL is not understood: it has to be like postgres://user:password@host/name")
	}
	s.Settings = env.Settings()
	s.listenMetrics = env.Get("GATEPOST_LISTEN_METRICS", "")
	if s.listenOperators = env.Get("GATEPOST_LISTEN_OPERATORS", ""); s.listenOperators != "" {
		s.operator = env.Need("GATEPOST_OPERATOR", "the name of the operator")
		s.operatorPassword = credentials.NewPassword(env.Need("GATEPOST_OPERATOR_PASSWORD", "the password of the operator"))
	}
	s.upstream = env.Need("GATEPOST_UPSTREAM", "the host:port that takes the mail")
	if _, _, err := net.SplitHostPort(s.upstream); err != nil && s.upstream != "" {
		env.Wrong("GATEPOST_UPSTREAM is not understood: it has to be like smtp.example.net:587")
	}
	if s.username = env.Get("GATEPOST_UPSTREAM_USERNAME", ""); s.username != "" {
		s.password = credentials.NewPassword(env.Need("GATEPOST_UPSTREAM_PASSWORD", "the password of GATEPOST_UPSTREAM_USERNAME"))
	}
	if text := env.Get("GATEPOST_MONTHLY_LIMIT", ""); text != "" {
		var err error
		if s.monthlyLimit, err = strconv.ParseInt(text, 10, 64); err != nil || s.monthlyLimit <= 0 {
			env.Wrong("GATEPOST_MONTHLY_LIMIT is not understood: it has to be a number such as 10000")
		}
	}
	if s.zone = env.Get("GATEPOST_ZONE", ""); s.zone != "" {
		s.zoneKey = env.Need("GATEPOST_ZONE_KEY", "the file with the key of GATEPOST_ZONE")
	}
	if s.webhookURL = env.Get("GATEPOST_WEBHOOK_URL", ""); s.webhookURL != "" {
		s.webhookSecret = credentials.NewPassword(env.Need("GATEPOST_WEBHOOK_SECRET", "the secret that signs what GATEPOST_WEBHOOK_URL gets"))
	}
	if s.bounceDomain = env.Get("GATEPOST_BOUNCE_DOMAIN", ""); s.bounceDomain != "" {
		s.bounceSecret = credentials.NewPassword(env.Need("GATEPOST_BOUNCE_SECRET", "the secret that signs the addresses of GATEPOST_BOUNCE_DOMAIN"))
		s.listenBounces = env.Get("GATEPOST_LISTEN_BOUNCES", ":25")
	}
	return s
}

// limits returns those of each tenant. A product looks up the plan of id.Tenant.
func (s settings) limits(context.Context, credentials.Identity) ([]limits.Limit, error) {
	return []limits.Limit{{Max: s.monthlyLimit}}, nil
}

// endpoints returns the one that gets the events of each tenant.
func (s settings) endpoints(context.Context, store.TenantID) ([]webhook.Endpoint, error) {
	return []webhook.Endpoint{{ID: "product", URL: s.webhookURL, Secrets: []credentials.Password{s.webhookSecret}}}, nil
}

// domains returns what proves the domains of tenants.
func (s settings) domains(st *sqlstore.Store, log *slog.Logger) (*domains.Manager, error) {
	text, err := os.ReadFile(s.zoneKey)
	if err != nil {
		return nil, err
	}
	key, err := dkim.ParsePEM(text)
	if err != nil {
		return nil, err
	}
	m := &domains.Manager{Store: st, Domains: st, Zone: s.zone, Shared: []dkim.Key{{Selector: "gp1", Signer: key}}, Logger: log}
	_, err = m.ZoneRecords() // checks the settings
	return m, err
}

func main() { daemon.Main(source, readSettings, run) }

func run(ctx context.Context, set settings, log *slog.Logger) error {
	db, st, err := openDatabase(ctx, set.databaseURL)
	if err != nil {
		return err
	}
	defer db.Close()
	cert, err := loadCertificate(set.CertFile, set.KeyFile, log)
	if err != nil {
		return err
	}
	machine, err := os.Hostname() // one process of this program on each
	if err != nil {
		return err
	}
	p := assemble(set, db, st, cert, machine, log)
	defer p.upstream.Close()

	work, err := p.addParts(ctx)
	if err != nil {
		return err
	}
	if set.listenMetrics != "" {
		pages, err := p.serveMetrics(set.listenMetrics)
		if err != nil {
			return fmt.Errorf("GATEPOST_LISTEN_METRICS: %w", err)
		}
		defer pages.Close()
	}
	if set.listenOperators != "" {
		op := &console.Operator{Queue: p.queue, History: p.hist, Credentials: p.srv.Credentials, Brakes: brakes(p.queue, p.upstream), Logger: log}
		pages, err := serveTLS(set.listenOperators, p.srv.TLSConfig.Clone(), operatorPages(op, set.operator, set.operatorPassword))
		if err != nil {
			return fmt.Errorf("GATEPOST_LISTEN_OPERATORS: %w", err)
		}
		defer pages.Close()
	}
	return set.Serve(ctx, p.srv, log, work...)
}

// openDatabase opens the database and brings its tables up to date.
func openDatabase(ctx context.Context, url string) (*sql.DB, *sqlstore.Store, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(20) // PostgreSQL has 100 by default, for all programs together
	db.SetMaxIdleConns(20)
	st := sqlstore.New(db, sqlstore.Postgres)
	if err := st.Migrate(ctx); err != nil {
		db.Close()
		return nil, nil, fmt.Errorf("GATEPOST_DATABASE_URL: %w", err)
	}
	return db, st, nil
}

// A program is the relay with all its parts.
type program struct {
	set     settings
	db      *sql.DB
	st      *sqlstore.Store
	machine string
	log     *slog.Logger

	srv      *relay.Server
	queue    *queue.Queue
	upstream *smarthost.Forwarder
	hist     *history.History
	list     *suppress.List
	lim      *limits.Limiter // used with a monthly limit only
	hooks    *webhook.Sender // nil without webhooks
	reports  *bounces.Server // nil without a bounce domain
}

func assemble(set settings, db *sql.DB, st *sqlstore.Store, cert *certificate, machine string, log *slog.Logger) *program {
	p := &program{set: set, db: db, st: st, machine: machine, log: log}
	p.upstream = &smarthost.Forwarder{
		Addr: set.upstream, Username: set.username, Password: set.password,
		Hostname: set.Hostname, Logger: log,
	}
	p.queue = &queue.Queue{Spool: st, Record: true, Next: p.upstream, Hostname: set.Hostname, Node: machine, Logger: log}
	p.list = &suppress.List{Store: st, History: st, Logger: log}
	p.hist = &history.History{Store: st, Publish: p.list.Learn, Node: machine, Logger: log}
	p.lim = &limits.Limiter{Store: st, Limits: set.limits, Next: p.queue, Logger: log}
	p.srv = &relay.Server{
		Hostname:       set.Hostname,
		Credentials:    &credentials.Manager{Store: st, ClaimDomains: set.zone != "", Logger: log},
		Forwarder:      p.queue,
		AllowRecipient: p.list.AllowRecipient,
		KeyHeader:      "Idempotency-Key", // a tool that repeats a message with this field sends it once
		OnEvent:        p.hist.OnRelayEvent,
		TLSConfig:      &tls.Config{GetCertificate: cert.get},
		Logger:         log,
	}
	return p
}

// addParts adds the parts that the settings want. It returns what works beside the server.
func (p *program) addParts(ctx context.Context) ([]func(context.Context) error, error) {
	work := []func(context.Context) error{p.queue.Run, p.hist.Run}
	if p.set.webhookURL != "" {
		if err := p.addWebhooks(ctx); err != nil {
			return nil, err
		}
		work = append(work, p.hooks.Run)
	}
	if p.set.monthlyLimit > 0 {
		p.srv.Forwarder, p.srv.AllowUser = p.lim, p.lim.AllowUser
		work = append(work, p.lim.Run)
	}
	if p.set.zone != "" {
		dom, err := p.addDomains()
		if err != nil {
			return nil, fmt.Errorf("GATEPOST_ZONE_KEY: %w", err)
		}
		work = append(work, dom.Run)
	}
	if p.set.bounceDomain != "" { // after the signer: addresses are rewritten first
		serve, err := p.addBounces()
		if err != nil {
			return nil, err
		}
		work = append(work, serve)
	}
	return work, nil
}

// addWebhooks sends the events to the product. They wait in tables of their own.
func (p *program) addWebhooks(ctx context.Context) error {
	requests := sqlstore.New(p.db, sqlstore.Postgres)
	requests.TablePrefix = "webhook_"
	if err := requests.Migrate(ctx); err != nil {
		return err
	}
	p.hooks = &webhook.Sender{Queue: queue.Queue{Spool: requests, Node: p.machine, Logger: p.log}, Endpoints: p.set.endpoints}
	p.hist.Publish = func(ctx context.Context, events []store.Event) error {
		if err := p.list.Learn(ctx, events); err != nil {
			return err
		}
		return p.hooks.Publish(ctx, events)
	}
	return nil
}

// addDomains signs mail, and refuses users whose domain is not proved.
func (p *program) addDomains() (*domains.Manager, error) {
	dom, err := p.set.domains(p.st, p.log)
	if err != nil {
		return nil, err
	}
	p.queue.Next = &dkim.Signer{Keys: dom.Keys, Next: p.upstream, Logger: p.log}
	limit := p.srv.AllowUser // nil without a limit
	p.srv.AllowUser = func(ctx context.Context, r *relay.PolicyRequest) error {
		if err := dom.AllowUser(ctx, r); err != nil || limit == nil {
			return err
		}
		return limit(ctx, r)
	}
	return dom, nil
}

// serveMetrics serves the metrics until the server is closed.
func (p *program) serveMetrics(addr string) (*http.Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", &metrics.Handler{Server: p.srv, Queue: p.queue, History: p.hist, Suppress: p.list, Bounces: p.reports, Webhooks: p.hooks})
	if p.hooks != nil {
		mux.Handle("/metrics/webhooks", &metrics.Handler{Queue: &p.hooks.Queue})
	}
	pages := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second}
	go pages.Serve(l)
	return pages, nil
}
