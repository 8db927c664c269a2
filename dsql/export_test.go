package dsql

import (
	"errors"

	"github.com/aurora-migrate/aurora/internal/pgstore"
)

// IsConnectionLost reports that a run ended for its connection.
func IsConnectionLost(err error) bool { return errors.Is(err, pgstore.ErrConnection) }
