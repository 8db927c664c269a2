// Package filestore keeps the history and the lease of projects in one local
// file, for environments that have neither a database nor AWS for it.
//
// # The file
//
// The file is a log to which writers append. It begins with the line
//
//	aurora history 1 <16 hexadecimal digits>
//
// whose digits are new each time the file is written anew. Records follow, each
// on a line of its own:
//
//	<length> <crc> <crc of what is before> <JSON>
//
// in eight hexadecimal digits each: the bytes of the JSON, their CRC-32C, and
// that of the line's first 18 bytes. A record is either the project's lease as it
// is from now on, or revisions that were saved together:
//
//	{"project":"default","lease":{"token":7,"held":true,"holder":{…},"at":"…","ttlMillis":30000}}
//	{"project":"default","save":[{"executionId":"…","version":"…",…},…]}
//
// A Save is one record, so it is there as a whole or not at all, and it is on
// the disk (fsync) when it returns. When a process or the machine dies while it
// appends, the file ends within a record, or in zeros; that tail was never said
// to be saved, and the next writer cuts it off. A checksum that is wrong anywhere
// else is damage: then nothing reads or writes the file any more, and it stays
// as it is for whoever repairs it. The first checksum is there so that a damaged
// length cannot pass for a tail.
//
// A file of more than a megabyte of which less than half counts is written anew
// beside the old one (<file>.tmp) and put in its place.
//
// # Processes
//
// Writers take turns by an operating system's lock on a second file
// (<file>.lock) for as long as one write takes; a process that dies loses it.
// Readers take no lock, create nothing and need no right to write: a log only
// grows, and a file that was put in its place leaves the old one to those who
// have it open.
//
// Both need a file system of this machine. One that has no locks is refused;
// a network's may have some that do not work between machines.
//
// # The lease
//
// The machine's clock decides when a lease ends: a time to live after it was
// last renewed. Each write checks it, together with the token, while it has the
// lock. A clock that was set back by more than the time to live ends leases too,
// so that none lasts until the clock has caught up.
package filestore
