//go:build unix && !linux

package filestore

import "errors"

func setFSUser(int) error { return errors.New("run this test as somebody else than root") }
