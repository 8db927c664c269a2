package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/aurora-migrate/aurora"
)

// The progress table has a row for each part of a backfill. Its mark is a new
// one with every batch, and a batch moves it from the mark that it expects: of
// two that expect the same only one can happen, whoever sent them, however late
// they come.
const progressTable = `CREATE TABLE IF NOT EXISTS {table} (
	run uuid NOT NULL,
	part integer NOT NULL,
	name text NOT NULL,
	token bigint NOT NULL,
	mark text NOT NULL,
	place text NOT NULL,
	visited bigint NOT NULL,
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (run, part)
)`

func (r *rowsRun) progressSQL(sql string) string {
	return strings.ReplaceAll(sql, "{table}", r.ProgressTable)
}

// takeOver makes the rows of this backfill ours, and goes to the places they
// say. From then on no batch of a process that had them before can happen.
func (r *rowsRun) takeOver(ctx context.Context, s *session) error {
	if err := r.createProgress(ctx, s); err != nil {
		return fmt.Errorf("create the progress table: %w", err)
	}
	if len(r.st.Parts) == 0 {
		return nil
	}
	args := []any{r.st.Run, r.Name, r.env.Token(), r.owner + "/0"}
	var values []string
	for _, p := range r.st.Parts {
		place, err := json.Marshal(p.At)
		if err != nil {
			return err
		}
		n := len(args)
		values = append(values, fmt.Sprintf("($1::uuid, $2::text, $3::bigint, $4::text, $%d::int, $%d::text, $%d::bigint)", n+1, n+2, n+3))
		args = append(args, p.number, string(place), p.Visited)
	}
	rows, err := s.ask(ctx, r.halt, r.progressSQL(`INSERT INTO {table} AS t (run, name, token, mark, part, place, visited) VALUES `+strings.Join(values, ", ")+`
ON CONFLICT (run, part) DO UPDATE SET token = EXCLUDED.token, mark = EXCLUDED.mark, updated_at = now() WHERE t.token <= EXCLUDED.token
RETURNING part, mark, place, visited`), args...)
	if err != nil {
		return fmt.Errorf("take over the progress: %w", err)
	}
	if len(rows) < len(r.st.Parts) {
		return fmt.Errorf("%w: the progress of this backfill is that of a newer run", aurora.ErrLeaseLost)
	}
	for _, row := range rows {
		n, err := strconv.Atoi(row[0])
		if err != nil || n >= len(r.st.Parts) {
			return fmt.Errorf("the progress table has an unexpected part %s", row[0])
		}
		if err := r.moveTo(r.st.Parts[n], row[1:]); err != nil {
			return err
		}
	}
	return nil
}

// createProgress creates the table unless it is there: who may not create
// tables may have had it created before.
func (r *rowsRun) createProgress(ctx context.Context, s *session) error {
	for try := 0; ; try++ {
		rows, err := s.ask(ctx, r.halt, "SELECT pg_catalog.to_regclass($1::text)::text IS NOT NULL", r.ProgressTable)
		if err != nil || rows[0][0] == "t" {
			return err
		}
		_, err = s.ask(ctx, r.halt, r.progressSQL(progressTable))
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "23505" && pgErr.Code != "42P07" || try == 10 {
			return err
		}
		sleep(ctx, r.halt, pauseAfter(try)) // somebody else creates it just now
	}
}

// moveTo sets a part to what its row says: mark, place, visited.
func (r *rowsRun) moveTo(p *part, row []string) error {
	var place key
	if err := json.Unmarshal([]byte(row[1]), &place); err != nil {
		return fmt.Errorf("read the progress of part %d: %w", p.number, err)
	}
	n, err := strconv.ParseInt(row[2], 10, 64)
	if err != nil {
		return fmt.Errorf("read the progress of part %d: %w", p.number, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.mark, p.At, p.Visited = row[0], place, n
	return nil
}

// look finds out how far a part has come, after the answer was lost.
func (r *rowsRun) look(ctx context.Context, s *session, p *part) error {
	rows, err := s.ask(ctx, nil, r.progressSQL("SELECT mark, place, visited FROM {table} WHERE run = $1::uuid AND part = $2::int"), r.st.Run, p.number)
	if err != nil {
		return fmt.Errorf("read the progress: %w", err)
	}
	if len(rows) == 0 || !strings.HasPrefix(rows[0][0], r.owner+"/") {
		return fmt.Errorf("%w: another run has taken over this backfill", aurora.ErrLeaseLost)
	}
	return r.moveTo(p, rows[0])
}

// A move is what a batch does to the progress row, and the mark it leaves.
type move struct {
	mark    string
	queries []query
}

// moveFrom makes the move of one batch: from a mark to a new one, whose text is
// unlike all others. The second query fails unless the first did something.
func (r *rowsRun) moveFrom(p *part, mark string, b border) move {
	place, _ := json.Marshal(b.key) // texts always can be
	next := r.owner + "/" + strconv.FormatInt(r.marks.Add(1), 36)
	return move{next, []query{
		{r.progressSQL(`UPDATE {table} SET mark = $4::text, place = $5::text, visited = visited + $6::bigint, updated_at = now()
WHERE run = $1::uuid AND part = $2::int AND mark = $3::text`), texts(r.st.Run, p.number, mark, next, string(place), b.rows)},
		{r.progressSQL("SELECT 1/count(*) FROM {table} WHERE run = $1::uuid AND part = $2::int AND mark = $3::text"), texts(r.st.Run, p.number, next)},
	}}
}
