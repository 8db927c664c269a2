package dsql_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aurora-migrate/aurora/dsql"
	"github.com/aurora-migrate/aurora/localdsql"
)

func TestLocalEvidence(t *testing.T) {
	t.Parallel()
	dsql.CheckEvidence(t, localdsql.StartCluster(t, localdsql.Config{Throwaway: true}).URL())
}

func TestLocalMappings(t *testing.T) {
	t.Parallel()
	dsql.CheckMappings(t, localdsql.StartCluster(t, localdsql.Config{Throwaway: true}).URL())
}

func TestLocalJobs(t *testing.T) {
	t.Parallel()
	dsql.CheckJobs(t, localdsql.StartCluster(t, localdsql.Config{JobDelay: 4 * time.Second}).URL())
}

func TestLocalLogin(t *testing.T) {
	faults, err := localdsql.ParseFaults("busy@1,rate@2,waking@3")
	if err != nil {
		t.Fatal(err)
	}
	c := localdsql.StartCluster(t, localdsql.Config{})
	if !dsql.IsTarget(c.URL()) {
		t.Error("the URL is not recognised")
	}
	faulty := localdsql.StartCluster(t, localdsql.Config{Faults: faults})
	dsql.CheckLogin(t, c.URL(), c.CAFile(), fmt.Sprintf("%s:%d", c.Host(), c.Port()), localdsql.DefaultRegion, faulty.URL())
}
