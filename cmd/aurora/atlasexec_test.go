package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ariga.io/atlas/atlasexec"
	"ariga.io/atlas/sql/migrate"
	"github.com/google/go-cmp/cmp"

	"github.com/aurora-migrate/aurora/localdsql/engine"
)

// Atlas's own client library, on which its Terraform provider, its Kubernetes
// operator and its GitHub actions sit, drives aurora in Atlas's place.
func TestAtlasexec(t *testing.T) {
	ctx := context.Background()
	server, err := engine.Start(ctx, engine.Config{Throwaway: true})
	if err != nil {
		t.Fatalf("this test needs a PostgreSQL: %v", err)
	}
	defer server.Stop(ctx)
	if err := server.CreateDatabase(ctx, "app"); err != nil {
		t.Fatal(err)
	}
	url := server.URL("app")
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("20250101000000_users.sql", "CREATE TABLE users (id int);\nINSERT INTO users VALUES (1);\n")
	write("20250102000000_orders.sql", "CREATE TABLE orders (id int);\n")
	write("20250103000000_broken.sql", "CREATE TABLE items (id int);\nCREATE TABEL oops;\n")

	// It takes every exit code but 0 for a failure, and aurora's status has 3.
	t.Setenv("AURORA_ATLAS_EXIT_CODES", "1")
	program, err := exec.LookPath("aurora")
	if err != nil {
		t.Fatal(err)
	}
	client, err := atlasexec.NewClient(dir, program)
	if err != nil {
		t.Fatal(err)
	}
	dirURL := "file://" + dir
	if err := client.MigrateHash(ctx, &atlasexec.MigrateHashParams{DirURL: dirURL}); err != nil {
		t.Fatalf("hash: %v", err)
	}
	local, err := migrate.NewLocalDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := migrate.Validate(local); err != nil {
		t.Errorf("Atlas does not accept the sum: %v", err)
	}

	status := func() *atlasexec.MigrateStatus {
		t.Helper()
		s, err := client.MigrateStatus(ctx, &atlasexec.MigrateStatusParams{URL: url, DirURL: dirURL})
		if err != nil {
			t.Fatalf("status: %v", err)
		}
		return s
	}
	if s := status(); s.Status != "PENDING" || len(s.Pending) != 3 || s.Next != "20250101000000" || len(s.Applied) != 0 {
		t.Errorf("status of a fresh database: %+v", s)
	}
	applied, err := client.MigrateApply(ctx, &atlasexec.MigrateApplyParams{URL: url, DirURL: dirURL, ToVersion: "20250102000000"})
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	var statements []string
	for _, f := range applied.Applied {
		statements = append(statements, f.Applied...)
	}
	if diff := cmp.Diff([]string{"CREATE TABLE users (id int);", "INSERT INTO users VALUES (1);", "CREATE TABLE orders (id int);"}, statements); diff != "" {
		t.Errorf("applied statements (-want +got):\n%s", diff)
	}
	if applied.Target != "20250102000000" || applied.Error != "" {
		t.Errorf("apply: target %q, error %q", applied.Target, applied.Error)
	}

	_, err = client.MigrateApply(ctx, &atlasexec.MigrateApplyParams{URL: url, DirURL: dirURL})
	failed, ok := err.(*atlasexec.MigrateApplyError)
	if !ok || len(failed.Result) != 1 {
		t.Fatalf("apply of a broken file: %T %v", err, err)
	}
	if r := failed.Result[0]; len(r.Applied) != 1 || r.Applied[0].Error == nil || r.Applied[0].Error.Stmt != "CREATE TABEL oops;" {
		t.Errorf("result of a broken file: %+v", r)
	}
	if s := status(); s.Status != "PENDING" || s.Current != "20250102000000" || len(s.Pending) != 1 || s.Error == "" {
		t.Errorf("status after a failure: %+v", s)
	}

	if err := client.MigrateSet(ctx, &atlasexec.MigrateSetParams{URL: url, DirURL: dirURL, Version: "20250103000000"}); err != nil {
		t.Fatalf("set: %v", err)
	}
	s := status()
	if s.Status != "OK" || s.Current != "20250103000000" || len(s.Applied) != 3 || s.Applied[2].Type != "manually set" {
		t.Errorf("status after set: %+v", s)
	}
	again, err := client.MigrateApplySlice(ctx, &atlasexec.MigrateApplyParams{URL: url, DirURL: dirURL})
	if err != nil || len(again) != 1 || len(again[0].Applied) != 0 {
		t.Errorf("apply with nothing pending: %v, %+v", err, again)
	}
}
