// Package sqlstore keeps a relay's domains, users and mail in a SQL database:
// SQLite, PostgreSQL, MariaDB or MySQL.
//
// It works on a database that the caller has opened and will close, with a
// driver of the caller's choice, and imports none itself:
//
//	db, err := sql.Open("pgx", "postgres://localhost/product")
//	...
//	st := sqlstore.New(db, sqlstore.Postgres)
//	if err := st.Migrate(ctx); err != nil { ... }
//
// The tables are the Store's own; their names begin with [Store.TablePrefix], so
// they can live in the product's database. Any number of processes may use the
// same tables at once.
//
// The Store prepares its statements, on each connection anew. By default a
// sql.DB keeps only two connections that are idle, so a busy relay is faster
// after
//
//	db.SetMaxOpenConns(20)
//	db.SetMaxIdleConns(20)
//
// # SQLite
//
// Any driver for database/sql will do. What SQLite keeps for each connection
// belongs in the data source name, because a pool opens connections when it
// likes. With modernc.org/sqlite as with github.com/ncruces/go-sqlite3 that is
//
//	file:gatepost.db?_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)
//
// The first lets a writer wait for another process, the second makes a commit
// survive a power cut. Migrate refuses a database without a busy_timeout, and
// one with synchronous below FULL, which some builds of SQLite begin with. It
// switches the file to write-ahead logging, in which readers never wait.
// Writers of one Store wait in line rather than meet SQLITE_BUSY, so use one
// Store for one file in a process. A database in memory (":memory:") would be
// another one for each connection and is refused; see store/memory.
//
// SQLite makes the file as the umask says, so that others may often read the
// mail in it. Make it first, and the files beside it get its mode:
//
//	f, err := os.OpenFile("gatepost.db", os.O_RDWR|os.O_CREATE, 0o600)
//	... // and f.Close()
//
// A file that mail passes through is written over and over in the same places,
// so it is faster to copy it from the log less often, and to keep it in memory
// meanwhile. SQLite copies 4 MB at a time and has a commit, and all who write,
// wait for that. The Store does it beside them, in the call of one of them, when
// the log has about 16 MB: leave that to it unless the log has 32.
//
//	&_pragma=wal_autocheckpoint(8000)&_pragma=cache_size(-32000)
//
// A look-up among a million users takes about 1.7 times as long as one among a
// thousand, because few of its pages are in SQLite's cache. It takes about 1.2
// times as long with
//
//	&_pragma=mmap_size(1073741824)
//
// where the driver can map files into memory, as modernc.org/sqlite can. An
// error of the disk below a map ends the process.
//
// # PostgreSQL
//
// PostgreSQL 13 or later, in a database whose encoding is UTF8. Commits must be
// durable: Migrate refuses synchronous_commit=off, and fsync must be on as it is by
// default. Tested with github.com/jackc/pgx/v5/stdlib and github.com/lib/pq.
//
// # MySQL and MariaDB
//
// MySQL 8 or MariaDB 10.6, or later, with InnoDB. Tested with
// github.com/go-sql-driver/mysql; no parameter of its data source name matters
// here, but that autocommit must stay on, as it is by default. So must the
// server's innodb_flush_log_at_trx_commit=1, or commits are not durable: Migrate
// refuses another. The driver waits for a connection that has died without a sign
// for as long as TCP does, whatever a context says, unless the data source name has
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
)

// A Dialect is the SQL of one kind of database.
type Dialect int

// The dialects. The zero Dialect is none of them.
const (
	SQLite   Dialect = iota + 1
	Postgres         // PostgreSQL
	MySQL            // MySQL and MariaDB
)

// String returns the dialect's name as messages write it.
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

// defaultPrefix is what the names of the tables begin with unless
// [Store.TablePrefix] says otherwise.
const defaultPrefix = "gatepost_"

// A Store is a [store.Store] and a [store.Spool] in a SQL database. Make one with [New], and run
// [Store.Migrate] before its first use. It holds nothing that needs closing:
// whoever opened the database closes it.
type Store struct {
	// TablePrefix begins the name of each table: at most 32 letters a to z,
	// digits and underscores, the first of them no digit. It is set before
	// first use, and stays. The empty TablePrefix means "gatepost_".
	TablePrefix string

	// Contents keeps message contents above 64 KiB. It is set before first use.
	// Nil means a directory beside a SQLite file, whose name is that of the file
	// and "-contents", and on other databases a table. Contents that are kept in
	// the table already stay there. A back-up needs the directory as well.
	Contents store.Contents

	db      *sql.DB
	dialect Dialect
	stmts   sync.Map      // from query, as in the source, to *sql.Stmt; see prepare
	writer  chan struct{} // held by whoever writes; SQLite only
	puts    group         // calls of Put, and on SQLite, which has one writer, of Settle
	settles group
	swept   atomic.Int64 // when sweep was last called, in microseconds
	outside outside

	checkpoints checkpointer
}

var _ store.Store = (*Store)(nil)

// New returns a Store on db, which must be a database of the dialect's kind.
// It does not use db yet.
func New(db *sql.DB, dialect Dialect) *Store {
	return &Store{db: db, dialect: dialect, writer: make(chan struct{}, 1)}
}

// sql returns a query as the database takes it. In the source, queries have ?
// for arguments, {name} for tables, and PostgreSQL's words elsewhere.
func (s *Store) sql(query string) (string, error) {
	prefix := s.TablePrefix
	if prefix == "" {
		prefix = defaultPrefix
	}
	if strings.Trim(prefix, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || len(prefix) > 32 || prefix[0] <= '9' {
		return "", fmt.Errorf("the table prefix %q is not of at most 32 of a-z, 0-9 and _, without a digit at its beginning", prefix)
	}
	query = strings.NewReplacer("{", prefix, "}", "").Replace(query)
	switch s.dialect {
	case SQLite:
		return sqliteWords.Replace(query), nil
	case Postgres:
		return numbered(postgresKeys.Replace(query)), nil
	case MySQL:
		query = strings.ReplaceAll(query, " FOR SHARE", " LOCK IN SHARE MODE") // the form that MariaDB knows, too
		if q, ok := strings.CutSuffix(query, " ON CONFLICT DO NOTHING"); ok {
			query = strings.Replace(q, "INSERT", "INSERT IGNORE", 1)
		}
		return query, nil
	}
	return "", fmt.Errorf("there is no dialect %v", s.dialect)
}

// search returns the condition, with its arguments, that one of the columns
// contains what the page searches for: nothing if that is nothing.
func (s *Store) search(page store.Page, columns ...string) (condition string, args []any) {
	if page.Search == "" {
		return "", nil
	}
	contains := `instr(lower(%s), lower(?)) > 0`
	switch s.dialect {
	case Postgres: // in the C locale, because a Turkish one makes no i of an I
		contains = `strpos(lower(%s COLLATE "C"), lower(CAST(? AS TEXT) COLLATE "C")) > 0`
	case MySQL: // columns are binary, which has no case, and so is the argument, whatever the connection thinks
		contains = `LOCATE(LOWER(CONVERT(CAST(? AS BINARY) USING utf8mb4) COLLATE utf8mb4_bin), LOWER(CONVERT(%s USING utf8mb4) COLLATE utf8mb4_bin)) > 0`
	}
	var conditions []string
	for _, column := range columns {
		conditions = append(conditions, fmt.Sprintf(contains, column))
		args = append(args, page.Search)
	}
	return ` AND (` + strings.Join(conditions, ` OR `) + `)`, args
}

// sqliteWords are PostgreSQL's that SQLite doesn't know: it has no locks but
// that of the whole database, and keys of several columns come from a table.
var sqliteWords = strings.NewReplacer(" FOR SHARE", "", " FOR UPDATE", "", " SKIP LOCKED", "", " IN ((", " IN (VALUES (")

// postgresKeys makes a table of a list of keys of several columns: of a list
// PostgreSQL looks for the first column in an index and tries the rest on each
// row, which for a mail with many recipients takes long.
var postgresKeys = strings.NewReplacer(
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
