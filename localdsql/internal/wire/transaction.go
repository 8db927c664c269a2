package wire

import (
	"time"

	"github.com/aurora-migrate/aurora/localdsql/internal/policy"
)

// A transaction is what has happened in the open one, block or not.
type transaction struct {
	block bool // BEGIN was completed
	ddl   bool
	dml   bool
	rows  int64
	bytes int64
	began time.Time          // of the block
	names []string           // of the DDL
	texts []*policy.Decision // statements of the block
}

// maxTexts bounds what is remembered of a transaction's statements; one with
// more counts as having touched everything.
const maxTexts = 64

// begin notes that a block was opened; what came before it in the same
// transaction counts.
func (t *transaction) begin() { t.block, t.began = true, time.Now() }

func (t *transaction) wrote() bool { return t.ddl || t.dml }

// commit is what the other sessions must know of the transaction.
func (t *transaction) commit() *commit {
	if !t.ddl {
		return nil
	}
	return &commit{names: t.names}
}

// touched remembers a statement, for conflicts with DDL.
func (t *transaction) touched(dec *policy.Decision) {
	if t.block && len(t.texts) <= maxTexts {
		t.texts = append(t.texts, dec)
	}
}

// touches reports whether a statement of the transaction mentions one of the
// names; without names any statement does.
func (t *transaction) touches(names []string) bool {
	if len(names) == 0 || len(t.texts) > maxTexts {
		return len(t.texts) > 0
	}
	for _, dec := range t.texts {
		for _, name := range names {
			if dec.Mentions(name) {
				return true
			}
		}
	}
	return false
}

// refusal is the first rule of transactions that a statement of a class would
// break.
func (t *transaction) refusal(class policy.Class) *policy.Refusal {
	switch {
	case class == policy.DDL && t.ddl:
		return &policy.SecondDDL
	case class == policy.DDL && t.dml, class == policy.DML && t.ddl:
		return &policy.DDLWithDML
	case class == policy.Call && (t.block || t.wrote()):
		return &policy.WaitInBlock
	}
	return nil
}
