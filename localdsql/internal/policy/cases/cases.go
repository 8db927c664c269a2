// Package cases is what Aurora DSQL is known to answer to statements, as data:
// for tests of the code that decides about texts, of a whole local DSQL, and of
// a cluster of Aurora DSQL.
package cases

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// A Case is a few statements and what comes of the last of them.
type Case struct {
	// About is the subject, the same for many cases.
	About string `json:"about"`
	// Setup runs before, in an empty schema that comes first in the search path,
	// each statement on its own; with Wait, the jobs it starts must then end.
	Setup []string `json:"setup"`
	Wait  bool     `json:"wait"`
	// SQL runs on one connection, statement by statement; all but the last run
	// whatever comes of them.
	SQL []string `json:"sql"`
	// Code and Message are the error of the last one, empty if there is none.
	Code    string `json:"code"`
	Message string `json:"message"`
	// By says who decides: see the constants.
	By By `json:"by"`
	// Tag is the command tag of the last one, Value the first column of its
	// first row; both are empty where they say nothing.
	Tag   string `json:"tag"`
	Value string `json:"value"`
	// Cleanup removes what is not in the schema, whatever came before.
	Cleanup []string `json:"cleanup"`
}

// By is who decides about a case.
type By string

// Who decides.
const (
	ByNone     By = ""         // nobody: it works
	ByText     By = "text"     // the text of the last statement
	ByCatalog  By = "catalog"  // what a local DSQL has in its database
	BySession  By = "session"  // the state of the transaction
	ByMessage  By = "message"  // SQL is one message of several statements
	ByPostgres By = "postgres" // PostgreSQL, as it is
)

//go:embed cases.json
var data []byte

// All returns the cases. Long lists are written as {list 3 c#} in the data and
// come as c0, c1, c2.
func All() ([]Case, error) {
	var all []Case
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read the cases: %w", err)
	}
	for i := range all {
		for _, list := range [][]string{all[i].Setup, all[i].SQL} {
			for n := range list {
				var err error
				if list[n], err = expand(list[n]); err != nil {
					return nil, fmt.Errorf("read the cases: %w", err)
				}
			}
		}
	}
	return all, nil
}

// String gives the last statement, shortened.
func (c Case) String() string {
	s := c.About + ": " + strings.Join(c.SQL, "; ")
	if len(s) > 120 {
		s = strings.ToValidUTF8(s[:120], "") + "…"
	}
	return s
}

func expand(sql string) (string, error) {
	for {
		before, rest, found := strings.Cut(sql, "{list ")
		if !found {
			return sql, nil
		}
		list, after, closed := strings.Cut(rest, "}")
		count, item, _ := strings.Cut(list, " ")
		n, err := strconv.Atoi(count)
		if err != nil || !closed {
			return "", fmt.Errorf("list in %q: need {list 3 c#}", sql)
		}
		items := make([]string, n)
		for i := range items {
			items[i] = strings.ReplaceAll(item, "#", strconv.Itoa(i))
		}
		sql = before + strings.Join(items, ", ") + after
	}
}
