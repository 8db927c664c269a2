package dsql

import (
	"testing"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/auroratest"
	"github.com/aurora-migrate/aurora/internal/pgtest"
)

func TestStoreConformancePlain(t *testing.T) {
	t.Parallel()
	auroratest.Run(t, func(t *testing.T) func(project string) aurora.Store {
		url := pgtest.URL(t)
		return func(project string) aurora.Store { return openProject(t, url, project) }
	})
}
