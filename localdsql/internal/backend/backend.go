// Package backend makes the PostgreSQL behind a local DSQL: databases that have
// DSQL's schema sys and admin role, that refuse what only the catalog can tell
// DSQL would refuse, and whose asynchronous jobs a [Worker] runs.
//
// Everything in a database is installed by sql/*.sql into a template, once per
// server; a new database is a copy of it.
//
// CREATE INDEX ASYNC does its work when it is submitted, under the lock of a
// plain CREATE INDEX: the index is complete from then on, though marked
// INVALID, and refuses new duplicates. The job only looks for old ones and
// marks it valid. PostgreSQL's CREATE INDEX CONCURRENTLY would build it later,
// but hold a lock against all other definitions of the table meanwhile, and
// wait for every open transaction of the database, neither of which DSQL does.
// The price: an index of a large table takes its time when it is submitted,
// and an expression that fails for a row is an error there instead of a failed
// job.
//
// Roles belong to PostgreSQL's server, not to one database: two clusters of a
// server cannot both create a role of the same name.
package backend

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora/localdsql/engine"
)

//go:embed sql/*.sql
var scripts embed.FS

// templatePrefix begins the names of template databases.
const templatePrefix = "aurora_dsql_"

// prepareLock is the advisory lock, of the database postgres, under which
// templates are made.
const prepareLock = 0x6175726f7261

// The SQLSTATEs that are told apart.
const (
	undefinedDatabase = "3D000"
	duplicateDatabase = "42P04"
	uniqueViolation   = "23505"
	undefinedTable    = "42P01"
	lockNotAvailable  = "55P03"
	deadlockDetected  = "40P01"
	internalError     = "XX000" // "tuple concurrently updated", as DDL has it
)

// Settings returns the PostgreSQL settings a server needs for the databases of
// this package, as [engine.Config] takes them.
func Settings() map[string]string {
	return map[string]string{
		// Every database has a worker's connection besides those of clients.
		"max_connections": "500",
		// The default names a configuration that DSQL does not have.
		"default_text_search_config": "pg_catalog.simple",
	}
}

// install returns the scripts as one, in the order of their names.
func install() (string, error) {
	names, err := fs.Glob(scripts, "sql/*.sql")
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, name := range names {
		text, err := scripts.ReadFile(name)
		if err != nil {
			return "", err
		}
		all.Write(text)
	}
	return all.String(), nil
}

// version names the contents of the scripts.
func version(script string) string {
	sum := sha256.Sum256([]byte(script))
	return hex.EncodeToString(sum[:6])
}

// Prepare makes a server ready for [CreateDatabase]: it creates the role admin
// and the template database, unless they are there. It does nothing in a few
// milliseconds when all is done. Several processes may call it at once.
// Templates of other versions of this package are removed; a process that
// still wants one makes it again.
func Prepare(ctx context.Context, server *engine.Server) (err error) {
	script, err := install()
	if err != nil {
		return fmt.Errorf("read the installation scripts: %w", err)
	}
	conn, err := pgconn.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return fmt.Errorf("prepare local DSQL: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	if err := prepare(ctx, conn, server, script); err != nil {
		return fmt.Errorf("prepare local DSQL: %w", err)
	}
	return nil
}

func prepare(ctx context.Context, conn *pgconn.PgConn, server *engine.Server, script string) (err error) {
	template := templatePrefix + version(script)
	if there, err := exists(ctx, conn, template); err != nil || there {
		return err
	}
	if err := send(ctx, conn, fmt.Sprintf("SELECT pg_advisory_lock(%d)", prepareLock)); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, send(ctx, conn, fmt.Sprintf("SELECT pg_advisory_unlock(%d)", prepareLock)))
	}()
	if there, err := exists(ctx, conn, template); err != nil || there {
		return err
	}
	if err := dropTemplates(ctx, conn); err != nil {
		return err
	}
	// Under another name until it is whole: a killed process leaves no half.
	half := templatePrefix + "new"
	if err := send(ctx, conn, "CREATE DATABASE "+half+" TEMPLATE template0"); err != nil {
		return err
	}
	if err := installInto(ctx, server, half, script); err != nil {
		return err
	}
	return send(ctx, conn, "ALTER DATABASE "+half+" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false",
		"ALTER DATABASE "+half+" RENAME TO "+template)
}

// lock keeps other processes from installing anything on the server.
func lock(ctx context.Context, conn *pgconn.PgConn) (unlock func() error, err error) {
	if err := send(ctx, conn, fmt.Sprintf("SELECT pg_advisory_lock(%d)", prepareLock)); err != nil {
		return nil, fmt.Errorf("wait for other processes: %w", err)
	}
	return func() error { return send(ctx, conn, fmt.Sprintf("SELECT pg_advisory_unlock(%d)", prepareLock)) }, nil
}

func dropTemplates(ctx context.Context, conn *pgconn.PgConn) error {
	rows, err := query(ctx, conn, "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", templatePrefix)
	if err != nil {
		return err
	}
	for _, row := range rows {
		name := quote(row[0])
		if err := send(ctx, conn, "ALTER DATABASE "+name+" WITH IS_TEMPLATE false", "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			return err
		}
	}
	return nil
}

// installInto runs the scripts in a database, as one transaction.
func installInto(ctx context.Context, server *engine.Server, name, script string) (err error) {
	conn, err := connectTo(ctx, server, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	note := fmt.Sprintf("\nCOMMENT ON SCHEMA sys IS 'local DSQL %s'", version(script))
	// Notices are about what is there already.
	err = send(ctx, conn, "SET client_min_messages = warning; SET session_replication_role = replica", "BEGIN;"+script+note+";COMMIT")
	if err != nil {
		return fmt.Errorf("install schema sys in database %q: %w", name, err)
	}
	return nil
}

// CreateDatabase creates a database for a cluster unless it exists, on a server
// that was prepared. One that another version of this package created gets
// this version's schema sys; its jobs and mappings stay. Several processes may
// ask for the same database at once.
func CreateDatabase(ctx context.Context, server *engine.Server, name string) (err error) {
	if name == "" || strings.ContainsRune(name, 0) || len(name) > 63 || strings.HasPrefix(name, templatePrefix) {
		return fmt.Errorf("create database %q: a name has 1 to 63 bytes and does not begin with %s", name, templatePrefix)
	}
	script, err := install()
	if err != nil {
		return fmt.Errorf("read the installation scripts: %w", err)
	}
	conn, err := pgconn.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return fmt.Errorf("create database %q: %w", name, err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()

	create := fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER admin", quote(name), quote(templatePrefix+version(script)))
	err = send(ctx, conn, create)
	if code(err) == undefinedDatabase { // another version of aurora removed the template
		if err = prepare(ctx, conn, server, script); err == nil {
			err = send(ctx, conn, create)
		}
	}
	switch code(err) {
	case duplicateDatabase, uniqueViolation:
		return upgrade(ctx, conn, server, name, script)
	}
	if err != nil {
		return fmt.Errorf("create database %q: %w", name, err)
	}
	return nil
}

// upgrade installs the scripts in a database that has others. conn is one to
// the database postgres.
func upgrade(ctx context.Context, conn *pgconn.PgConn, server *engine.Server, name, script string) (err error) {
	current, err := isCurrent(ctx, server, name, script)
	if err != nil || current {
		return err
	}
	unlock, err := lock(ctx, conn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	current, err = isCurrent(ctx, server, name, script) // another process may have been faster
	if err != nil || current {
		return err
	}
	return installInto(ctx, server, name, script)
}

// trustedPath is the search path of connections as a superuser to a database of
// users, whose functions must not stand in for PostgreSQL's own.
const trustedPath = "pg_catalog, pg_temp"

// connectTo connects to a cluster's database.
func connectTo(ctx context.Context, server *engine.Server, name string) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(server.URL(name))
	if err != nil {
		return nil, fmt.Errorf("parse the database's url: %w", err)
	}
	cfg.RuntimeParams["search_path"] = trustedPath
	return pgconn.ConnectConfig(ctx, cfg)
}

// isCurrent says whether a database has this version's scripts.
func isCurrent(ctx context.Context, server *engine.Server, name, script string) (current bool, err error) {
	conn, err := connectTo(ctx, server, name)
	if err != nil {
		return false, fmt.Errorf("look into database %q: %w", name, err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	rows, err := query(ctx, conn, "SELECT coalesce(obj_description(to_regnamespace('sys'), 'pg_namespace'), '')")
	if err != nil {
		return false, fmt.Errorf("look into database %q: %w", name, err)
	}
	return rows[0][0] == "local DSQL "+version(script), nil
}

// DropDatabase drops a cluster's database, ending its sessions, and the roles
// that had objects, rights or IAM mappings in it and have none elsewhere. It
// is no error when there is no such database.
func DropDatabase(ctx context.Context, server *engine.Server, name string) (err error) {
	conn, err := pgconn.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return fmt.Errorf("drop database %q: %w", name, err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	roles, err := rolesOf(ctx, conn, server, name)
	if err != nil {
		return fmt.Errorf("drop database %q: look for its roles: %w", name, err)
	}
	if err := send(ctx, conn, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %q: %w", name, err)
	}
	for _, role := range roles {
		// One that is used elsewhere too stays, and PostgreSQL knows.
		err := send(ctx, conn, "DROP ROLE IF EXISTS "+quote(role))
		if err != nil && code(err) == "" {
			return fmt.Errorf("drop role %q of database %q: %w", role, name, err)
		}
	}
	return nil
}

// rolesOf lists the roles that are used in a database, admin and superusers
// excepted.
func rolesOf(ctx context.Context, conn *pgconn.PgConn, server *engine.Server, name string) (roles []string, err error) {
	there, err := exists(ctx, conn, name)
	if err != nil || !there {
		return nil, err
	}
	own, err := connectTo(ctx, server, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, own.Close(ctx)) }()
	rows, err := query(ctx, own, `
		SELECT r.rolname FROM pg_roles r
		WHERE r.oid >= 16384 AND NOT r.rolsuper AND r.rolname <> 'admin' AND (
			r.oid IN (SELECT d.refobjid FROM pg_shdepend d JOIN pg_database db ON db.oid = d.dbid
				WHERE d.refclassid = 'pg_authid'::regclass AND db.datname = $1)
			OR r.oid IN (SELECT m.pg_role_oid FROM sys.iam_pg_role_mappings m))`, name)
	for _, row := range rows {
		roles = append(roles, row[0])
	}
	return roles, err
}

func exists(ctx context.Context, conn *pgconn.PgConn, database string) (bool, error) {
	rows, err := query(ctx, conn, "SELECT FROM pg_database WHERE datname = $1", database)
	return len(rows) > 0, err
}

// send runs statements, each a message of its own.
func send(ctx context.Context, conn *pgconn.PgConn, statements ...string) error {
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			return err
		}
	}
	return nil
}

// query returns the rows of a query as text; NULL is the empty string.
func query(ctx context.Context, conn *pgconn.PgConn, sql string, args ...string) ([][]string, error) {
	values := make([][]byte, len(args))
	for i, arg := range args {
		values[i] = []byte(arg)
	}
	result := conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	rows := make([][]string, len(result.Rows))
	for i, row := range result.Rows {
		rows[i] = make([]string, len(row))
		for j, value := range row {
			rows[i][j] = string(value)
		}
	}
	return rows, nil
}

// code returns the SQLSTATE of an error, if it has one.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
