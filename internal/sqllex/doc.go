// Package sqllex is the PostgreSQL lexer of aurora: it cuts a script into
// tokens, splits it into statements as psql does, and says what kind of
// statement one is. It never edits SQL; it gives byte ranges that a dialect may
// replace (see [Apply]).
//
// The rules are those of PostgreSQL's own scanners (src/backend/parser/scan.l
// and src/fe_utils/psqlscan.l, PostgreSQL 15 to 18) with
// standard_conforming_strings on. All functions take time linear in the input
// and work on substrings of it.
package sqllex
