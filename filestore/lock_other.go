//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package filestore

import (
	"errors"
	"os"
)

var errNoLock = errors.New("this system has no locks that a history could use")

func tryLock(*os.File) (bool, error) { return false, errNoLock }

func isNoLock(err error) bool { return errors.Is(err, errNoLock) }

func isStale(error) bool { return false }
