package backfill_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/aurora-migrate/aurora/internal/pgtest"
)

// childVariable makes the test binary run a backfill instead of tests.
const childVariable = "AURORA_TEST_BACKFILL_CHILD"

func TestMain(m *testing.M) {
	if task := os.Getenv(childVariable); task != "" {
		if err := runChild(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	pgtest.Main(m) // the stand-in for DynamoDB ends with the process
}

// size returns a number of rows or items that a variable can raise.
func size(variable string, small int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return small
}
