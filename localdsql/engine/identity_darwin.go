package engine

import "syscall"

const hasUserNamespaces = false

func setUserNamespace(*syscall.SysProcAttr, identity) {}
