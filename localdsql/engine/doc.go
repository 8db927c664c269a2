// Package engine runs a private PostgreSQL server for url = "local://": it
// finds (or, when asked, fetches) PostgreSQL, creates a cluster in the
// project's .aurora directory, starts it on a Unix socket and stops it when
// the last process that uses it has ended, however that process ended.
//
// # Sharing
//
// Every process that calls [Start] for the same directory uses the same
// server. What holds it together is in that directory and in one short
// directory below /tmp:
//
//   - pg.lock is locked (flock) while a process starts or joins a server;
//   - pg.alive is locked by the server: the open file is inherited by
//     PostgreSQL and all its children, so that the lock is free exactly when
//     none of them is left. No process id is trusted for that question;
//   - pg.users is locked shared by each user, which tells [Server.Stop]
//     whether it was the last;
//   - lease, in the short directory beside the socket, is a FIFO. Each user
//     holds its writing end and a shell process, the watcher, reads it. The
//     kernel closes the writing ends of a killed process, the watcher sees the
//     end of the file when the last is gone and stops PostgreSQL.
//
// The watcher is /bin/sh and not this program started again because a library
// cannot know how the program it is part of has to be started. It needs no
// tool beyond mv, rm and sleep.
//
// # Durability
//
// Clusters run with fsync=off: what was committed is with the kernel, so that
// the death of any process, PostgreSQL's own included, loses nothing. Only the
// death of the machine can damage a cluster that was in use within the last
// half minute or so. A commit costs 0.07 ms instead of 6 ms (measured on a
// virtual disk); who wants the other end of that bargain sets fsync to on in
// Config.Settings. synchronous_commit=off with fsync=on is not in between: it
// loses commits when PostgreSQL is killed.
//
// # Root
//
// PostgreSQL refuses to run as root. As root the server runs as the owner of
// the project's directory, or as postgres or nobody, or, where these cannot
// reach the directory, in a user namespace in which root has another number.
//
// The engine runs on Linux and macOS; elsewhere Start returns [ErrUnsupported].
package engine
