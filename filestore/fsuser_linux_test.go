package filestore

import "syscall"

// setFSUser changes whose rights on files this thread has.
func setFSUser(uid int) error { return syscall.Setfsuid(uid) }
