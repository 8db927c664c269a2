package postgres_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// atlasTable is the table as Atlas creates it on PostgreSQL.
const atlasTable = `CREATE SCHEMA atlas_schema_revisions;
CREATE TABLE atlas_schema_revisions.atlas_schema_revisions (
	version varchar PRIMARY KEY, description varchar NOT NULL, type bigint NOT NULL DEFAULT 2,
	applied bigint NOT NULL DEFAULT 0, total bigint NOT NULL DEFAULT 0, executed_at timestamptz NOT NULL,
	execution_time bigint NOT NULL, error text, error_stmt text, hash varchar NOT NULL, partial_hashes jsonb, operator_version varchar NOT NULL);`

const seedTable = `CREATE TABLE aurora_schema_revisions (id text PRIMARY KEY, description text NOT NULL, total int NOT NULL, count int NOT NULL,
	error text, error_stmt text, executed_at timestamptz, execution_time bigint NOT NULL);`

// The history that Atlas or the earlier aurora left is taken over once, and
// never altered.
func TestForeignHistory(t *testing.T) {
	tests := []struct {
		name, setup, table string
		want               map[string]aurora.Kind
		refused            string
	}{
		{"atlas", atlasTable + `INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES
			('00001', 't', 2, 1, 1, '2025-01-02 03:04:05Z', 1500000, '', '', 'x=', 'null', 'Atlas CLI v1.2.0'),
			('00002', 't', 6, 0, 1, '2025-01-02 03:04:06Z', 1500000, '', '', 'y=', null, 'Atlas CLI v1.2.0'),
			('.atlas_cloud_identifier', 'some-uuid', 2, 0, 0, now(), 0, '', '', '', null, '')`,
			"atlas_schema_revisions.atlas_schema_revisions",
			map[string]aurora.Kind{"00001": aurora.Imported, "00002": aurora.Resolved, "00003": aurora.Applied}, ""},
		{"atlas baseline", atlasTable + `INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES
			('00002', 't', 1, 0, 0, now(), 0, null, null, '', null, 'Atlas CLI v1.2.0')`,
			"atlas_schema_revisions.atlas_schema_revisions",
			map[string]aurora.Kind{"00002": aurora.Baseline, "00003": aurora.Applied}, ""},
		{"atlas half applied", atlasTable + `INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES
			('00001', 't', 2, 1, 1, now(), 1, '', '', 'x=', 'null', ''), ('00002', 't', 2, 1, 2, now(), 1, 'boom', 'oops', 'y=', '["h1:x"]', '')`,
			"atlas_schema_revisions.atlas_schema_revisions", nil, "half applied"},
		{"earlier aurora", seedTable + `INSERT INTO aurora_schema_revisions VALUES
			('00001', 't', 2, 2, null, null, now(), 1500), ('00002', 't', 2, 4, null, null, now(), 1500)`,
			"public.aurora_schema_revisions",
			map[string]aurora.Kind{"00001": aurora.Imported, "00002": aurora.Imported, "00003": aurora.Applied}, ""},
		{"earlier aurora of another service", seedTable + `INSERT INTO aurora_schema_revisions VALUES
			('00001', 'init', 2, 2, null, null, now(), 1500)`,
			"public.aurora_schema_revisions",
			map[string]aurora.Kind{"00001": aurora.Applied, "00002": aurora.Applied, "00003": aurora.Applied}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.URL(t)
			pgtest.Exec(t, url, tt.setup)
			dump := "SELECT string_agg(r::text, '|' ORDER BY r::text) FROM " + tt.table + " r"
			before := pgtest.One(t, url, dump)
			migrations := pgtest.Tables(3, 1)

			status, err := aurora.NewStatus(migrations, mustLatest(t, url), "")
			if err != nil {
				t.Fatal(err)
			}
			if tt.refused != "" {
				if _, err := pgtest.Run(t, open(t, url), migrations, aurora.Request{}); err == nil || !strings.Contains(err.Error(), tt.refused) {
					t.Errorf("error %v", err)
				}
				return
			}
			applied := 0
			for _, k := range tt.want {
				if k == aurora.Applied {
					applied++
				}
			}
			if len(status.Pending) != applied {
				t.Errorf("%d pending before the import, want %d", len(status.Pending), applied)
			}
			if n := pgtest.One(t, url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'aurora'"); n != "0" {
				t.Error("status imported")
			}
			pgtest.MustRun(t, open(t, url), migrations, aurora.Request{})
			got := map[string]aurora.Kind{}
			for _, r := range mustLatest(t, url) {
				got[r.Version] = r.Kind
				if r.Foreign != "" || r.State != aurora.Completed {
					t.Errorf("revision %+v", r)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
			if after := pgtest.One(t, url, dump); after != before {
				t.Errorf("the other tool's table was altered:\n%s\n%s", before, after)
			}
			// Once: what happens to the other table later is not looked at.
			pgtest.Exec(t, url, "DROP TABLE "+tt.table)
			if e := pgtest.MustRun(t, open(t, url), migrations, aurora.Request{}); len(e.Revisions) != 0 {
				t.Errorf("ran %d again", len(e.Revisions))
			}
		})
	}
}
