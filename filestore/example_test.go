package filestore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/aurora-migrate/aurora"
	"github.com/aurora-migrate/aurora/filestore"
)

// A program that migrates what has no database for its history.
func Example() {
	dir, err := os.MkdirTemp("", "filestore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := filestore.Open(filestore.Config{Path: filepath.Join(dir, "history.db"), Project: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	runner := &aurora.Runner{Store: store, Migrations: []aurora.Migration{{
		Version: "20250601120000", Name: "greet", Irreversible: "it was said",
		Up: []aurora.Step{aurora.Func{Name: "greet", Do: func(context.Context, *aurora.Env) error {
			fmt.Println("hello")
			return nil
		}}},
	}}}
	for range 2 {
		execution, err := runner.Run(context.Background(), aurora.Request{Direction: aurora.Up})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(execution.State, len(execution.Revisions))
	}
	// Output:
	// hello
	// completed 1
	// completed 0
}
