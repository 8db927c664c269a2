//go:build !linux && !darwin

package localdsql

import (
	"os"

	"github.com/aurora-migrate/aurora/localdsql/engine"
)

func tryLock(string) (*os.File, bool, error) { return nil, false, engine.ErrUnsupported }

func giveToOwner(string) error { return nil }

func terminate(*os.Process) error { return engine.ErrUnsupported }
