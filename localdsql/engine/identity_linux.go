package engine

import "syscall"

const hasUserNamespaces = true

// setUserNamespace runs a command in a user namespace where the identity's
// user, root for one, has the number of an unprivileged user that exists.
// Files stay the outer user's.
func setUserNamespace(attr *syscall.SysProcAttr, id identity) {
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: id.inner, HostID: id.uid, Size: 1}}
	attr.Credential = &syscall.Credential{Uid: uint32(id.inner), Gid: uint32(id.innerGID), NoSetGroups: true}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: id.innerGID, HostID: id.gid, Size: 1}}
}
