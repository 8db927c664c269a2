package policy

import (
	"strings"
	"unicode/utf8"

	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/internal/sqllex"
)

// A Policy decides about statements by the rules of one day. It is safe for
// concurrent use.
type Policy struct {
	rules dsql.Profile
	cache cache
}

// New makes a Policy of the rules that hold on a profile's day.
func New(p dsql.Profile) *Policy { return &Policy{rules: p} }

// Split cuts a simple-query message into its statements. The pieces, joined,
// are the message; there is at least one. Space and comments go with the
// statement behind them, those at the end with the last one. A message that
// cannot be read to its end, for a quote or parenthesis that is not closed, is
// one piece: a server runs nothing of it.
func (p *Policy) Split(sql string) []string {
	pieces, _ := split(sql)
	return pieces
}

// plainText is the length in bytes from which on plain statements are cached:
// reading a shorter one takes hardly longer than looking it up.
const plainText = 256

// Decide decides about one statement. A text that cannot be read to its end, or
// one of several statements, which no prepared statement may be, is passed on:
// the backend will refuse it.
func (p *Policy) Decide(sql string) *Decision {
	if d := p.cache.get(sql); d != nil {
		return d
	}
	if class, ok := plain(sql); ok {
		d := &Decision{SQL: sql, Text: sql, Class: class}
		if len(sql) >= plainText {
			p.cache.put(d)
		}
		return d
	}
	d := p.decide(sql)
	p.cache.put(d)
	return d
}

func (p *Policy) decide(sql string) *Decision {
	d := &Decision{SQL: sql, Text: sql}
	pieces, ok := split(sql)
	if len(pieces) > 1 {
		return d
	}
	info := sqllex.Classify(sql)
	if !ok {
		if info.Async { // PostgreSQL would complain about ASYNC
			d.edit([]sqllex.Edit{blank(info.Mode)})
		}
		return d
	}
	d.Class, d.Locks = class(sql, info), info.LocksRows
	if d.Class == DDL {
		d.Names = names(sql, info)
	}
	if d.Refusal = p.refusal(sql); d.Refusal == nil {
		d.rewrite(sql, info)
	}
	return d
}

// refusal is the first refusal of a statement whose words are known. Where a
// rule has none, PostgreSQL refuses the statement too, and finds better ones.
func (p *Policy) refusal(sql string) *Refusal {
	for _, f := range dsql.Inspect(p.rules, sql) {
		if f.Message == "" || f.Rule == rowsRule {
			continue
		}
		r := &Refusal{Code: f.SQLState, Message: f.Message}
		if f.Start > first(sql) {
			r.Position = utf8.RuneCountInString(sql[:f.Start]) + 1
		}
		return r
	}
	return internalFunction(sql)
}

// internalFunction refuses the functions that a local DSQL has for itself,
// which would run what is refused elsewhere. A cluster does not have them.
func internalFunction(sql string) *Refusal {
	w := read(sql)
	for i, tok := range w.toks {
		if !isName(tok) || w.ident(i) != "sys" || !w.at(i+1).IsPunct(sql, ".") || !isName(w.at(i+2)) {
			continue
		}
		if name := w.ident(i + 2); strings.HasPrefix(name, "_") {
			return &Refusal{
				Code: "42883", Message: "function sys." + name + " does not exist",
				Position: utf8.RuneCountInString(sql[:tok.Start]) + 1,
			}
		}
	}
	return nil
}

// rowsRule is about the rows of INSERT … VALUES. They are counted as they are
// changed, as those of all other statements are.
const rowsRule = "transaction-rows"

// first gives the offset of the first token that matters.
func first(sql string) int { return next(sqllex.New(sql)).Start }
