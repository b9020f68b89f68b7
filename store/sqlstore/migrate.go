package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strings"
	"time"
)

//go:embed migrations
var migrations embed.FS

// Migrate creates the tables or brings them up to date. Call it at every start. If
// several processes call it at once, one migrates and the others wait. If the
// tables are up to date, it only reads.
//
// Migrate fails if a newer version of this package made the tables and
// this one can't work with them, or if a setting
// of the database breaks a promise of [store.Store]. The error says what to change.
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.made(); err != nil {
		return failed("migrate", err)
	}
	// The name helps if the error comes from using the wrong dialect.
	return failed("migrate "+s.dialect.String(), s.migrate(ctx))
}

// made checks the arguments of New and the table prefix.
func (s *Store) made() error {
	if _, err := s.sql(""); err != nil {
		return err
	}
	if s.db == nil {
		return errors.New("no database: New got a nil *sql.DB")
	}
	return nil
}

func (s *Store) migrate(ctx context.Context) error {
	steps, err := s.steps()
	if err != nil {
		return err
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	check, migrate := checkMySQL, s.migrateMySQL
	switch s.dialect {
	case SQLite:
		check, migrate = checkSQLite, s.migrateSQLite
	case Postgres:
		check, migrate = checkPostgres, s.migratePostgres
	}
	if err := check(ctx, conn); err != nil {
		return explainPooler(err)
	}
	if s.dialect == Postgres {
		if err := s.checkPooler(ctx, conn); err != nil {
			return explainPooler(err)
		}
	}
	if done, err := s.isCurrent(ctx, conn, steps); done || err != nil {
		return err
	}
	return migrate(ctx, conn, steps)
}

// steps returns the statements of each migration, in order.
func (s *Store) steps() ([][]string, error) {
	files, err := fs.Glob(migrations, "migrations/"+strings.ToLower(s.dialect.String())+"/*.sql")
	if err != nil {
		return nil, err
	}
	var steps [][]string
	for _, file := range files { // sorted by name, which begins with the number
		text, err := migrations.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var step []string
		for statement := range strings.SplitSeq(uncommented(string(text)), ";") {
			if statement = strings.TrimSpace(statement); statement == "" {
				continue
			}
			if statement, err = s.sql(statement); err != nil {
				return nil, err
			}
			step = append(step, statement)
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// uncommented returns SQL without the lines that are comments.
func uncommented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// An execer is a *sql.Conn or a *sql.Tx.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// needsSince is the version since which the table of versions has the column
// needs: the least version of this package that can work with the tables.
const needsSince = 3

// needs maps a version of the tables to the oldest version of this package that can
// work with them. A version that is not in the map needs itself.
var needs = map[int]int{
	4:  3, // adds tables, and rows that version 3 does not read
	5:  3, // adds a table
	6:  6, // an older program deletes the users of all tenants with a domain of one name
	7:  3, // adds tables
	8:  3, // adds columns with defaults
	9:  3, // adds a column
	10: 3, // adds a table
	11: 3, // adds columns with defaults, a table and indexes
	12: 3, // adds tables
	13: 3, // adds an index
	14: 3, // adds an index
}

// isCurrent reports whether there is nothing to do. It only reads, so that a user
// without the right to make tables can call Migrate. It fails if the tables were
// made by a newer version that this one can't work with.
func (s *Store) isCurrent(ctx context.Context, db execer, steps [][]string) (bool, error) {
	query, err := s.sql(`SELECT COALESCE(MAX(version), 0), COALESCE(MAX(needs), 0) FROM {schema}`)
	if err != nil {
		return false, err
	}
	var version, least int
	if db.QueryRowContext(ctx, query).Scan(&version, &least) != nil {
		return false, nil // there is no such table, or it is older; if not, the next statement fails as well
	}
	if least > len(steps) {
		return false, fmt.Errorf("the tables have version %d and need a program that knows at least version %d; this one knows only up to %d: they were migrated by a newer program, use that", version, least, len(steps))
	}
	return version >= len(steps), nil
}

// apply runs the steps that the database does not have yet. The caller must hold
// the lock of the dialect. The table of versions has a row for each step.
func (s *Store) apply(ctx context.Context, db execer, steps [][]string) error {
	for {
		if done, err := s.applyNext(ctx, db, steps); done || err != nil {
			return err
		}
	}
}

// applyNext runs the next step, as apply does. It reports whether there was none.
func (s *Store) applyNext(ctx context.Context, db execer, steps [][]string) (done bool, err error) {
	latest, err := s.sql(`SELECT COALESCE(MAX(version), 0) FROM {schema}`)
	if err != nil {
		return false, err
	}
	var version int
	if err := db.QueryRowContext(ctx, latest).Scan(&version); err != nil {
		return false, err
	}
	if version >= len(steps) {
		return true, nil
	}
	for _, statement := range steps[version] {
		if _, err := db.ExecContext(ctx, statement); err != nil && !s.isDone(err) {
			return false, fmt.Errorf("version %d: %w", version+1, err)
		}
	}
	if err := s.record(ctx, db, version+1); err != nil {
		return false, fmt.Errorf("version %d: %w", version+1, err)
	}
	return false, nil
}

// record adds a row to the table of versions.
func (s *Store) record(ctx context.Context, db execer, version int) error {
	query, args := `INSERT INTO {schema} (version) VALUES (?)`, []any{version}
	if version >= needsSince {
		query, args = `INSERT INTO {schema} (version, needs) VALUES (?, ?)`, append(args, cmp.Or(needs[version], version))
	}
	query, err := s.sql(query)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, query, args...)
	return err
}

// isDone reports whether err says that a statement of a migration that was cut
// short on MySQL had been run before: a column or an index is there already, or is
// gone already.
func (s *Store) isDone(err error) bool {
	return s.dialect == MySQL && hasCode(err, "1054", "1060", "1061", "1091")
}

// createSchema creates the table of versions. It is not a migration itself, because
// the table records the migrations.
const createSchema = `CREATE TABLE IF NOT EXISTS {schema} (version INTEGER NOT NULL PRIMARY KEY)`

func (s *Store) migrateSQLite(ctx context.Context, conn *sql.Conn, steps [][]string) error {
	create, err := s.sql(createSchema)
	if err != nil {
		return err
	}
	// The first statement of a transaction must write; see inTx.
	lock, err := s.sql(`DELETE FROM {schema} WHERE version < 0`)
	if err != nil {
		return err
	}
	return s.write(ctx, func() error {
		if _, err := conn.ExecContext(ctx, create); err != nil {
			return err
		}
		return inTxOf(ctx, conn, nil, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, lock); err != nil {
				return err
			}
			return s.apply(ctx, tx, steps)
		})
	})
}

// checkSQLite checks that all connections have the same database, that commits are
// durable, and that processes wait for each other. It turns on write-ahead logging,
// which the file keeps. Settings of a connection it can only check.
func checkSQLite(ctx context.Context, conn *sql.Conn) error {
	var file string
	if err := conn.QueryRowContext(ctx, `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&file); err != nil {
		return err
	}
	if file == "" {
		return errors.New("a SQLite database in memory is a different one for each connection: use a file on a local disk, or store/memory")
	}
	var timeout, synchronous int
	if err := conn.QueryRowContext(ctx, `PRAGMA busy_timeout`).Scan(&timeout); err != nil {
		return err
	}
	if timeout <= 0 {
		return errors.New("busy_timeout is 0, so SQLite does not wait for other processes: add _pragma=busy_timeout(10000) to the data source name")
	}
	if err := conn.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&synchronous); err != nil {
		return err
	}
	if synchronous < 2 { // FULL
		return errors.New("SQLite may lose commits in a power cut: add _pragma=synchronous(FULL) to the data source name")
	}
	return writeAhead(ctx, conn)
}

// writeAhead switches the file to write-ahead logging.
func writeAhead(ctx context.Context, conn *sql.Conn) error {
	for try := 1; ; try++ {
		var mode string
		err := conn.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode)
		if err == nil && mode != "wal" {
			err = conn.QueryRowContext(ctx, `PRAGMA journal_mode = WAL`).Scan(&mode)
		}
		switch {
		case err == nil && mode == "wal":
			return nil
		case err == nil:
			return fmt.Errorf("SQLite cannot use a write-ahead log here (journal mode %q): use a file on a local disk", mode)
		case try == maxTries:
			return err
		}
		// busy_timeout does not apply to the switch.
		if err := sleep(ctx, time.Duration(try)*20*time.Millisecond); err != nil {
			return err
		}
	}
}

// migratePostgres commits each step by itself, so that what one of them locks is not
// locked while the next ones run. A step that ends in a deadlock is run again.
func (s *Store) migratePostgres(ctx context.Context, conn *sql.Conn, steps [][]string) error {
	create, err := s.sql(createSchema)
	if err != nil {
		return err
	}
	// Without the lock CREATE TABLE IF NOT EXISTS fails in one of two processes that
	// run it at once.
	key := fnv.New64a()
	key.Write([]byte(create))
	// Each statement must see what another process committed while this one waited
	// for the lock.
	opts := &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	for done := false; !done; {
		err := s.write(ctx, func() error {
			return inTxOf(ctx, conn, opts, func(tx *sql.Tx) error {
				if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(key.Sum64())); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, create); err != nil {
					return err
				}
				done, err = s.applyNext(ctx, tx, steps)
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkPostgres checks that the database can store every name and that commits are
// durable.
func checkPostgres(ctx context.Context, conn *sql.Conn) error {
	var encoding, synchronous string
	if err := conn.QueryRowContext(ctx, `SHOW server_encoding`).Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the encoding of the database is %s, which cannot store every name: create the database with ENCODING 'UTF8'", encoding)
	}
	if err := conn.QueryRowContext(ctx, `SHOW synchronous_commit`).Scan(&synchronous); err != nil {
		return err
	}
	if synchronous == "off" {
		return errors.New("PostgreSQL may lose commits in a crash: set synchronous_commit to on, for this user or in the data source name")
	}
	return nil
}

// migrateMySQL works without a transaction, because MySQL commits after each
// statement that changes tables. A migration that was interrupted is run again from
// its beginning, so its statements can be repeated.
func (s *Store) migrateMySQL(ctx context.Context, conn *sql.Conn, steps [][]string) error {
	create, err := s.sql(createSchema)
	if err != nil {
		return err
	}
	// The name of a lock is global to the server, so it contains the database.
	const name = `SHA1(CONCAT(COALESCE(DATABASE(), ''), ' ', ?))`
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(`+name+`, 60)`, create).Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return errors.New("another process holds the migration lock for more than a minute: wait for it to finish and try again")
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), `DO RELEASE_LOCK(`+name+`)`, create)
	if _, err := conn.ExecContext(ctx, create+` ENGINE = InnoDB`); err != nil {
		return err
	}
	return s.apply(ctx, conn, steps)
}

// checkMySQL checks that statements are committed and that commits are durable.
func checkMySQL(ctx context.Context, conn *sql.Conn) error {
	var autocommit, flush int
	if err := conn.QueryRowContext(ctx, `SELECT @@autocommit, @@innodb_flush_log_at_trx_commit`).Scan(&autocommit, &flush); err != nil {
		return err
	}
	if autocommit != 1 {
		return errors.New("autocommit is off, so single statements are not committed: turn it on, in the data source name and on the server")
	}
	if flush != 1 {
		return fmt.Errorf("innodb_flush_log_at_trx_commit is %d, so the server may lose commits in a crash: set it to 1", flush)
	}
	return nil
}

// inTxOf runs f in a transaction of the connection.
func inTxOf(ctx context.Context, conn *sql.Conn, opts *sql.TxOptions, f func(*sql.Tx) error) error {
	tx, err := conn.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}
