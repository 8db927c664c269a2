package config

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/zclconf/go-cty/cty"
)

// sqlSource is data "sql": the only column of a query on a PostgreSQL or
// Aurora DSQL database, as an object with count, values and value (the first
// one, or null).
func sqlSource(ctx context.Context, b *dataBlock) (cty.Value, error) {
	target, query, raw := b.required("url"), b.required("query"), b.raw("args")
	if !b.ok() {
		return cty.NilVal, nil
	}
	b.ev.secrets.addURL(target)
	args := []any{pgx.QueryResultFormats{pgx.TextFormatCode}}
	if list, ok := goValue(raw).([]any); ok {
		args = append(args, list...)
	} else if !raw.IsNull() {
		return cty.NilVal, fmt.Errorf("args must be a list, not %s", raw.Type().FriendlyName())
	}
	for i, a := range args[1:] {
		switch a.(type) {
		case string, bool, int64, float64:
		default:
			return cty.NilVal, fmt.Errorf("argument %d must be a string, a number or a boolean", i+1)
		}
	}
	cfg, err := sqlConfig(target)
	if err != nil {
		return cty.NilVal, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return cty.NilVal, fmt.Errorf("connecting to %s: %w", Redact(target), err)
	}
	defer func() {
		// The run's context may have ended, and a goodbye should still be said.
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := conn.Close(closing); err != nil {
			b.ev.opts.Logger.DebugContext(ctx, "closing the connection of a data source", "name", b.name())
		}
	}()
	values, err := readColumn(ctx, conn, query, args)
	if err != nil {
		return cty.NilVal, err
	}
	out := map[string]cty.Value{
		"count":  cty.NumberIntVal(int64(len(values))),
		"values": cty.ListValEmpty(cty.String),
		"value":  cty.NullVal(cty.String),
	}
	if len(values) > 0 {
		out["values"], out["value"] = cty.ListVal(values), values[0]
	}
	for _, v := range values {
		if v.Type() == cty.String {
			b.secret(v.AsString())
		}
	}
	return cty.ObjectVal(out), nil
}

// sqlConfig parses the URL of a database. Of Aurora DSQL's it checks the
// certificate unless the URL says otherwise.
func sqlConfig(target string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("url is not a URL (%s); put passwords and tokens through urlescape()", urlProblem(err))
	}
	switch u.Scheme {
	case "postgres", "postgresql":
	case "dsql":
		u.Scheme = "postgres"
	default:
		return nil, fmt.Errorf("url must begin with postgres://, postgresql:// or dsql://, not %s://", u.Scheme)
	}
	if _, _, ok := dsqlHost(u.Hostname()); ok && !u.Query().Has("sslmode") {
		q := u.Query()
		q.Set("sslmode", "verify-full")
		u.RawQuery = q.Encode()
	}
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		// pgx repeats the URL; it hides the password only where it finds it.
		return nil, errors.New("url has parameters that cannot be understood")
	}
	return cfg, nil
}

func readColumn(ctx context.Context, conn *pgx.Conn, query string, args []any) ([]cty.Value, error) {
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("running the query: %w", err)
	}
	defer rows.Close()
	var values []cty.Value
	for rows.Next() {
		fields := rows.FieldDescriptions()
		if len(fields) != 1 {
			return nil, fmt.Errorf("the query must return one column, and returns %d", len(fields))
		}
		raw := rows.RawValues()[0]
		if raw == nil {
			return nil, fmt.Errorf("row %d is NULL; leave such rows out in the query", len(values)+1)
		}
		v, err := textValue(fields[0].DataTypeOID, string(raw))
		if err != nil {
			return nil, fmt.Errorf("reading row %d: %w", len(values)+1, err)
		}
		values = append(values, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("running the query: %w", err)
	}
	return values, nil
}

// textValue turns a value in PostgreSQL's text format into a boolean or a
// number where the column is one, and otherwise into a string.
func textValue(oid uint32, text string) (cty.Value, error) {
	switch oid {
	case pgtype.BoolOID:
		return cty.BoolVal(strings.HasPrefix(text, "t")), nil
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return cty.NilVal, errors.New("it is not an integer")
		}
		return cty.NumberIntVal(i), nil
	case pgtype.Float4OID, pgtype.Float8OID:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f-f != 0 {
			return cty.NilVal, errors.New("it is not a finite number")
		}
		return cty.NumberFloatVal(f), nil
	}
	return cty.StringVal(text), nil
}
