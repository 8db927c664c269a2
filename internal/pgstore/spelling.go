package pgstore

import (
	"strings"
	"unicode/utf8"

	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A Spelling is a statement in the words of another database.
type Spelling struct {
	Text string
	// Change says what is different, as it reads behind "sent": with "…" instead
	// of "…". It is empty where nothing is.
	Change string
	// at, in bytes of the statement, is where old was replaced by new.
	at       int
	old, new string
}

// ForPostgreSQL spells a statement written for Aurora DSQL as PostgreSQL takes
// it: CREATE INDEX ASYNC becomes CREATE INDEX CONCURRENTLY, and ALTER TABLE
// ASYNC becomes ALTER TABLE. PostgreSQL itself would read "CREATE INDEX async
// ON t (a)" as an index of that name; here it has none.
func ForPostgreSQL(stmt string) Spelling {
	info := sqllex.Classify(stmt)
	if !info.Async || info.Mode.IsZero() {
		return Spelling{Text: stmt}
	}
	s := Spelling{at: info.Mode.Start, old: stmt[info.Mode.Start:info.Mode.End]}
	if info.Kind == sqllex.CreateIndex {
		s.new = "CONCURRENTLY"
		s.Change = `with "` + s.new + `" instead of "` + s.old + `"`
	} else {
		s.Change = `without "` + s.old + `"`
		if strings.HasPrefix(stmt[info.Mode.End:], " ") {
			s.old += " "
		}
	}
	s.Text = stmt[:s.at] + s.new + stmt[s.at+len(s.old):]
	return s
}

// Position turns a server's position in the text, in characters from 1, into
// that of the statement it was made of. One in the new words is where they
// are.
func (s Spelling) Position(pos int32) int32 {
	at := int32(utf8.RuneCountInString(s.Text[:s.at])) + 1
	switch {
	case s.Change == "" || pos < at:
		return pos
	case pos < at+int32(len(s.new)):
		return at
	}
	return pos + int32(len(s.old)) - int32(len(s.new))
}
