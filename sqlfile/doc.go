// Package sqlfile reads a directory of .sql files as migrations.
//
// The format is Atlas's: files named <version>[_<name>].sql at the top level, an
// optional atlas.sum with their checksums, and directives in comments:
//
//	-- atlas:txmode none|file     transactions of this migration
//	-- atlas:delimiter X          what ends a statement; first line only
//	-- atlas:checkpoint [TAG]     stands for all before it on a new database
//	-- atlas:txtar                the file is an archive, see below
//	-- atlas:assert oneof         in checks: one true query is enough
//	-- atlas:sum ignore           leave the file out of atlas.sum; first line only
//	-- atlas:nolint               accepted; package sqlfile does not lint
//
// An archive has the members migration.sql (the way up, required), down.sql (the
// way down), checks.sql and checks/NAME.sql (queries that must be true before),
// each below a line "-- NAME --". Without an archive, the way down of
// <stem>.sql is <stem>.down.sql.
//
// The comments at the head of a file, up to the first empty line or statement
// and without directives, are the migration's description.
//
// # Differences from Atlas
//
// What Atlas loses without a word is honoured or refused here. Directives count
// also with CRLF line ends, behind a byte order mark, without an empty line
// below them, and in any comment above the first statement; where they could
// have no effect they are errors, as are misspelt ones. A directive begins its
// comment: mentioned in the middle of a line, it is prose. Archives never run
// flat, and .down.sql files never run on the way up. Where the order of the
// file names, which is Atlas's, is not that of the versions, two versions are
// the same, or a file follows another tool's format, loading fails and says
// what to rename. Statements are cut by PostgreSQL's rules (see package
// sqllex), with LF line ends whatever the checkout has.
package sqlfile
