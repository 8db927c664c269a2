// Package sqllex is the PostgreSQL lexer of aurora: it cuts a script into
// tokens, splits it into statements as psql does, and says what kind of
// statement one is. It changes no SQL of its own accord: it gives byte ranges,
// which a dialect may replace with [Apply].
//
// The rules are those of PostgreSQL's own scanners (src/backend/parser/scan.l
// and src/fe_utils/psqlscan.l) with standard_conforming_strings on. The tests
// compare with psql 15; from PostgreSQL 16 come the vertical tab as white space
// and the _ in numbers, both errors before. All functions take time linear in
// the input and work on substrings of it.
package sqllex
