// Package sqlstore keeps a relay's domains, users and mail in a SQL database:
// SQLite, PostgreSQL, MariaDB or MySQL.
//
// The caller opens the database, with a driver of its choice, and closes it. The
// package imports no driver:
//
//	db, err := sql.Open("pgx", "postgres://localhost/product")
//	...
//	st := sqlstore.New(db, sqlstore.Postgres)
//	if err := st.Migrate(ctx); err != nil { ... }
//
// The names of the tables begin with [Store.TablePrefix], so that they can share a
// database with the tables of the product. Any number of processes may use the
// tables at once.
//
// The Store prepares its statements on each connection. By default a sql.DB
// keeps two idle connections and closes the others, so a busy relay is faster
// with
//
//	db.SetMaxOpenConns(20)
//	db.SetMaxIdleConns(20)
//
// # SQLite
//
// Any driver for database/sql works. Pragmas of a connection belong in the data
// source name, because sql.DB opens connections on its own. For
// modernc.org/sqlite and github.com/ncruces/go-sqlite3 that is
//
//	file:gatepost.db?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)
//
// With busy_timeout a writer waits while another process writes. With
// synchronous(FULL) a commit survives a power cut. Migrate refuses a database
// without a busy_timeout or with synchronous below FULL, which is the default in
// some builds of SQLite. It switches the file to write-ahead logging, in which
// readers do not wait for writers.
//
// The writers of one Store wait for each other without SQLITE_BUSY. Two Stores on one
// file, also with different prefixes, wait for each other by busy_timeout, which is
// slower: use one Store per file in a process. Migrate refuses a database in memory (":memory:"),
// because each connection would have a database of its own. Use store/memory
// instead.
//
// SQLite creates the file with the mode that the umask allows, which often lets
// other users read the mail. Create it with a stricter mode first; the files
// beside it get the same mode:
//
//	f, err := os.OpenFile("gatepost.db", os.O_RDWR|os.O_CREATE, 0o600)
//	... // and f.Close()
//
// A queue rewrites the same pages all the time, so checkpoint rarely and cache
// more. By default SQLite checkpoints every 4 MB inside a commit, which blocks all
// writers. The Store checkpoints after about 16 MB, outside of commits. These
// settings leave that to the Store unless the log reaches 32 MB:
//
//	&_pragma=wal_autocheckpoint(8000)&_pragma=cache_size(-32000)
//
// The log stays below about 50 MB under writes without a pause. It grows while a reader
// takes long, such as a back-up in one transaction, and is cut short soon after it.
//
// A look-up among a million users takes about 1.7 times as long as one among a
// thousand, because SQLite caches few of the pages. It takes about 1.2 times as
// long if the driver can map files into memory, as modernc.org/sqlite can, with
//
//	&_pragma=mmap_size(1073741824)
//
// A disk error in a mapped file ends the process.
//
// # PostgreSQL
//
// PostgreSQL 13 or later, in a database with the encoding UTF8. Commits must be
// durable: Migrate refuses synchronous_commit=off. Leave fsync on, which is the
// default. Tested with github.com/jackc/pgx/v5/stdlib and github.com/lib/pq.
//
// Behind PgBouncer in transaction mode, version 1.21 or later is needed with
// max_prepared_statements set. Migrate refuses a pooler that loses prepared
// statements.
//
// # MySQL and MariaDB
//
// MySQL 8 or MariaDB 10.6, or later, with InnoDB. Tested with
// github.com/go-sql-driver/mysql. Commits must be durable: Migrate refuses
// autocommit=0, and any innodb_flush_log_at_trx_commit other than 1. Both are right
// by default. If a connection dies without a TCP reset, the driver ignores the
// context and waits for the TCP timeout, unless the data source name has
//
//	readTimeout=90s&writeTimeout=90s
//
// # Tests with real parts
//
// The tests of this package need drivers and databases. They are in
// internal/integration/conformance, those with crashes and power cuts in
// internal/integration/chaos.
package sqlstore

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

// A Dialect is the SQL of one kind of database.
type Dialect int

// The dialects. The zero Dialect is none of them.
const (
	SQLite   Dialect = iota + 1
	Postgres         // PostgreSQL
	MySQL            // MySQL and MariaDB
)

// String returns the name of the database, such as "PostgreSQL".
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case Postgres:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// defaultPrefix is the prefix of the tables if [Store.TablePrefix] is empty.
const defaultPrefix = "gatepost_"

// A Store is a [store.Store], a [store.Spool], a [store.History], a
// [store.Allowances], a [store.Suppressions], a [store.Setups] and a [store.Endpoints]
// in a SQL database. Make one with [New] and call [Store.Migrate] before its first use. A Store needs no
// closing.
type Store struct {
	// TablePrefix begins the name of each table: at most 32 letters a to z,
	// digits and underscores, not beginning with a digit. Set it before the first
	// use and do not change it. Empty means "gatepost_".
	TablePrefix string

	// Contents keeps message contents above 64 KiB. It is set before first use.
	// Nil means a table, except on SQLite: there it means a directory beside
	// the database file, with the file's name and "-contents". Contents that are kept in
	// the table already stay there. A back-up needs the directory as well.
	Contents store.Contents

	db      *sql.DB
	dialect Dialect
	stmts   sync.Map      // from a query, as in the source, to its *sql.Stmt; see prepare
	writer  chan struct{} // a lock for the one writer that SQLite allows
	puts    group         // calls of Put; on SQLite also of Settle
	settles group
	records spools.RecordIDs
	swept   atomic.Int64 // when sweep was last called, in microseconds
	outside outside

	catalog  catalog
	searched atomic.Pointer[searched] // by the last search

	checkpoints checkpointer
}

var _ store.Store = (*Store)(nil)

// New returns a Store on db, which must be a database of the dialect's kind.
// It does not use db yet.
func New(db *sql.DB, dialect Dialect) *Store {
	return &Store{db: db, dialect: dialect, writer: make(chan struct{}, 1), checkpoints: checkpointer{running: make(chan struct{}, 1)}}
}

// sql translates a query into the dialect. In the source, queries have ? for
// arguments and {name} for tables, and are otherwise written for PostgreSQL.
func (s *Store) sql(query string) (string, error) {
	prefix := s.TablePrefix
	if prefix == "" {
		prefix = defaultPrefix
	}
	if strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || len(prefix) > 32 || prefix[0] <= '9' {
		return "", fmt.Errorf("invalid table prefix %q: use at most 32 characters from a-z, 0-9 and _, not beginning with a digit", prefix)
	}
	query = strings.NewReplacer("{", prefix, "}", "").Replace(query)
	switch s.dialect {
	case SQLite:
		return sqliteWords.Replace(query), nil
	case Postgres:
		return numbered(postgresKeys.Replace(query)), nil
	case MySQL:
		query = strings.ReplaceAll(query, " FOR SHARE", " LOCK IN SHARE MODE") // MariaDB knows only this form
		if q, ok := strings.CutSuffix(query, " ON CONFLICT DO NOTHING"); ok {
			query = strings.Replace(q, "INSERT", "INSERT IGNORE", 1)
		}
		return query, nil
	}
	return "", fmt.Errorf("unknown dialect %v: use SQLite, Postgres or MySQL", s.dialect)
}

// search returns a condition, with its arguments, that is true if one of the
// columns contains page.Search. The condition is empty if page.Search is.
func (s *Store) search(page store.Page, columns ...string) (condition string, args []any) {
	if page.Search == "" {
		return "", nil
	}
	contains := `instr(lower(%s), lower(?)) > 0`
	switch s.dialect {
	case Postgres: // in the C locale, because lower('I') is not 'i' in a Turkish one
		contains = `strpos(lower(%s COLLATE "C"), lower(CAST(? AS TEXT) COLLATE "C")) > 0`
	case MySQL: // the columns are binary and have no case; the cast ignores the character set of the connection
		contains = `LOCATE(LOWER(CONVERT(CAST(? AS BINARY) USING utf8mb4) COLLATE utf8mb4_bin), LOWER(CONVERT(%s USING utf8mb4) COLLATE utf8mb4_bin)) > 0`
	}
	var conditions []string
	for _, column := range columns {
		conditions = append(conditions, fmt.Sprintf(contains, column))
		args = append(args, page.Search)
	}
	return ` AND (` + strings.Join(conditions, ` OR `) + `)`, args
}

// sqliteWords replaces what SQLite does not know. SQLite locks the whole database
// and no single rows. A list of keys with several columns has to be a table.
var sqliteWords = strings.NewReplacer(" FOR SHARE", "", " FOR UPDATE", "", " SKIP LOCKED", "", " IN ((", " IN (VALUES (")

// postgresKeys turns a list of keys with several columns into a table. With a list
// PostgreSQL uses the index only for the first column, which is slow for a mail
// with many recipients.
var postgresKeys = strings.NewReplacer(
	"(mail, tenant, n) IN ((?, ?, ?)", "(mail, tenant, n) IN (VALUES (?::text, ?::text, ?::bigint)",
	"(username, submission, mail) IN ((?, ?, ?)", "(username, submission, mail) IN (VALUES (?::bytea, ?::bytea, ?::text)",
	"(tenant, endpoint, id) IN ((?, ?, ?)", "(tenant, endpoint, id) IN (VALUES (?::text, ?::text, ?::text)",
	"(tenant, endpoint) IN ((?, ?)", "(tenant, endpoint) IN (VALUES (?::text, ?::text)",
	"(tenant, address) IN ((?, ?)", "(tenant, address) IN (VALUES (?::text, ?::text)",
	"(tenant, id) IN ((?, ?)", "(tenant, id) IN (VALUES (?::text, ?::text)",
	"(username, submission) IN ((?, ?)", "(username, submission) IN (VALUES (?::bytea, ?::bytea)",
	" IN ((?, ?, ?)", " IN (VALUES (?::text, ?::bigint, ?::bigint)",
	" IN ((?, ?)", " IN (VALUES (?::text, ?::bigint)")

// numbered replaces each ? of a query by $1, $2 and so on.
func numbered(query string) string {
	var b strings.Builder
	for i := 1; ; i++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		fmt.Fprintf(&b, "$%d", i)
		query = after
	}
}
