package wire

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSimpleQueries runs messages of the simple protocol one after the other on
// one connection and compares tags, error and the state of the transaction.
func TestSimpleQueries(t *testing.T) {
	type message struct {
		sql    string
		tags   string
		code   string
		status byte
	}
	for _, tt := range []struct {
		name     string
		messages []message
		rows     string // in t at the end
	}{
		{"one by one", []message{
			{"INSERT INTO t VALUES (1)", "INSERT 0 1", "", 'I'},
			{"SELECT 1", "SELECT 1", "", 'I'},
			{"", "", "", 'I'},
			{" ; -- nothing", "", "", 'I'},
			{"UPDATE t SET a = 2", "UPDATE 1", "", 'I'},
			{"SELECT 1; SELECT 2", "SELECT 1,SELECT 1", "", 'I'},
		}, "1"},
		{"implicit transaction", []message{
			{"INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); SELECT 1", "INSERT 0 1,INSERT 0 1,SELECT 1", "", 'I'},
			{"INSERT INTO t VALUES (3); SELECT 1/0; INSERT INTO t VALUES (4)", "INSERT 0 1", "22012 division by zero", 'I'},
		}, "2"},
		{"a syntax error at the end lets nothing run", []message{
			{"INSERT INTO t VALUES (1); COMMIT; SELCT", "", "42601 syntax error at or near \"SELCT\"", 'I'},
			{"BEGIN; INSERT INTO t VALUES (1)", "BEGIN,INSERT 0 1", "", 'T'},
			{"INSERT INTO t VALUES (1); COMMIT; SELCT", "", "42601 syntax error at or near \"SELCT\"", 'E'},
			{"COMMIT", "ROLLBACK", "", 'I'},
		}, "0"},
		{"block", []message{
			{"BEGIN", "BEGIN", "", 'T'},
			{"INSERT INTO t VALUES (1)", "INSERT 0 1", "", 'T'},
			{"SELECT 1/0", "", "22012 division by zero", 'E'},
			{"CREATE TABLE u (a int)", "", aborted, 'E'},
			{"VACUUM", "", aborted, 'E'},
			{"COMMIT", "ROLLBACK", "", 'I'},
		}, "0"},
		{"block in one message", []message{
			{"BEGIN; INSERT INTO t VALUES (1); COMMIT", "BEGIN,INSERT 0 1,COMMIT", "", 'I'},
			{"BEGIN; INSERT INTO t VALUES (2); COMMIT; SELECT 1/0", "BEGIN,INSERT 0 1,COMMIT", "22012 division by zero", 'I'},
			{"BEGIN; INSERT INTO t VALUES (2); SELECT 1/0; COMMIT", "BEGIN,INSERT 0 1", "22012 division by zero", 'E'},
			{"ROLLBACK; INSERT INTO t VALUES (3)", "ROLLBACK,INSERT 0 1", "", 'I'},
		}, "3"},
		{"a block swallows what came before it", []message{
			{"INSERT INTO t VALUES (1); BEGIN; INSERT INTO t VALUES (2)", "INSERT 0 1,BEGIN,INSERT 0 1", "", 'T'},
			{"ROLLBACK", "ROLLBACK", "", 'I'},
		}, "0"},
		{"second DDL", []message{
			{"CREATE TABLE u (a int); CREATE TABLE v (a int)", "CREATE TABLE", secondDDL, 'I'},
			{"BEGIN; CREATE TABLE u (a int)", "BEGIN,CREATE TABLE", "", 'T'},
			{"CREATE TABLE v (a int)", "", secondDDL, 'E'},
			{"COMMIT", "ROLLBACK", "", 'I'},
			{"BEGIN; CREATE TABLE u (a int); COMMIT", "BEGIN,CREATE TABLE,COMMIT", "", 'I'},
			{"CREATE TABLE v (a int)", "CREATE TABLE", "", 'I'},
		}, "0"},
		{"DDL with DML", []message{
			{"CREATE TABLE u (a int); INSERT INTO u VALUES (1)", "CREATE TABLE", ddlWithDML, 'I'},
			{"INSERT INTO t VALUES (1); CREATE TABLE u (a int)", "INSERT 0 1", ddlWithDML, 'I'},
			{"BEGIN; INSERT INTO t VALUES (1)", "BEGIN,INSERT 0 1", "", 'T'},
			{"CREATE TABLE u (a int)", "", ddlWithDML, 'E'},
			{"ROLLBACK", "ROLLBACK", "", 'I'},
			{"BEGIN; CREATE TABLE u (a int)", "BEGIN,CREATE TABLE", "", 'T'},
			{"SELECT count(*) FROM t", "SELECT 1", "", 'T'},
			{"INSERT INTO t VALUES (1)", "", ddlWithDML, 'E'},
			{"ROLLBACK", "ROLLBACK", "", 'I'},
			{"CREATE TABLE u (a int)", "CREATE TABLE", "", 'I'},
			{"INSERT INTO t VALUES (1)", "INSERT 0 1", "", 'I'},
		}, "1"},
		{"refused by the policy", []message{
			{"SAVEPOINT s", "", "0A000 unsupported transaction statement: SAVEPOINT", 'I'},
			{"SELECT 1; SAVEPOINT s; SELECT 2", "SELECT 1", "0A000 unsupported transaction statement: SAVEPOINT", 'I'},
			{"BEGIN", "BEGIN", "", 'T'},
			{"SAVEPOINT s", "", "0A000 unsupported transaction statement: SAVEPOINT", 'E'},
			{"ROLLBACK", "ROLLBACK", "", 'I'},
			{"BEGIN ISOLATION LEVEL SERIALIZABLE", "", "0A000 Unsupported isolation level: SERIALIZABLE", 'I'},
			{"INSERT INTO t VALUES (1)", "INSERT 0 1", "", 'I'},
		}, "1"},
		{"commit outside of a block", []message{
			{"COMMIT", "COMMIT", "", 'I'},
			{"INSERT INTO t VALUES (1); ROLLBACK; INSERT INTO t VALUES (2)", "INSERT 0 1,ROLLBACK,INSERT 0 1", "", 'I'},
			{"INSERT INTO t VALUES (1); COMMIT; SELECT 1/0", "INSERT 0 1,COMMIT", "22012 division by zero", 'I'},
		}, "2"},
		{"deferred constraint", []message{
			{"INSERT INTO d VALUES (1, 1)", "", "23503 insert or update on table \"d\" violates foreign key constraint \"d_p_fkey\"", 'I'},
			{"INSERT INTO t VALUES (1); INSERT INTO d VALUES (1, 1)", "INSERT 0 1", "23503 insert or update on table \"d\" violates foreign key constraint \"d_p_fkey\"", 'I'},
			{"BEGIN; INSERT INTO d VALUES (1, 1); INSERT INTO t VALUES (1)", "BEGIN,INSERT 0 1,INSERT 0 1", "", 'T'},
			{"COMMIT", "", "23503 insert or update on table \"d\" violates foreign key constraint \"d_p_fkey\"", 'I'},
			{"INSERT INTO t VALUES (1)", "INSERT 0 1", "", 'I'},
		}, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t)
			c.setup(t, "CREATE TABLE t (a int); CREATE TABLE d (a int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES d DEFERRABLE INITIALLY DEFERRED); ALTER TABLE d DROP CONSTRAINT d_p_fkey; CREATE TABLE p (a int PRIMARY KEY); ALTER TABLE d ADD FOREIGN KEY (p) REFERENCES p DEFERRABLE INITIALLY DEFERRED")
			conn := c.connect(t)
			for i, m := range tt.messages {
				tags, code := run(t, conn, m.sql)
				got := message{m.sql, strings.Join(tags, ","), code, conn.TxStatus()}
				if diff := cmp.Diff(m, got, cmp.AllowUnexported(message{})); diff != "" {
					t.Fatalf("message %d: %s", i, diff)
				}
			}
			if got := c.one(t, "SELECT count(*) FROM t"); got != tt.rows {
				t.Errorf("%s rows in t, want %s", got, tt.rows)
			}
		})
	}
}
