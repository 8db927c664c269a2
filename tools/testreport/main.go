// Command testreport reads the output of "go test -json" and says what a
// person wants to know: what failed, with its output, and how many tests
// passed. It exits with 1 when a test failed or was skipped: a skipped test
// proves nothing, so a machine that runs all of them must have all they need.
// The exception is a test that needs root, skipped with "missing: root", when
// somebody else runs the tests: it is counted, and CI, which is root, runs it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

func main() {
	output := map[string]*strings.Builder{}
	running := map[string]bool{} // packages that began and have not ended
	passed, failed, skipped, forRoot := 0, 0, 0, 0
	started := time.Now()
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			fmt.Print(string(line)) // the build's own words
			continue
		}
		key := e.Package + " " + e.Test
		if e.Test == "" {
			switch e.Action {
			case "start":
				running[e.Package] = true
			case "pass", "fail", "skip":
				delete(running, e.Package)
			}
		}
		switch e.Action {
		case "output", "build-output":
			if output[key] == nil {
				output[key] = &strings.Builder{}
			}
			output[key].WriteString(e.Output)
			if e.Action == "build-output" {
				fmt.Print(e.Output)
			}
			continue
		case "pass":
			if e.Test != "" {
				passed++
			} else {
				fmt.Printf("ok    %-60s %7.1fs\n", e.Package, e.Elapsed)
			}
		case "fail":
			if e.Test != "" {
				failed++
			}
			fmt.Printf("FAIL  %s\n%s", key, text(output[key]))
			if e.Test == "" && failed == 0 {
				failed++ // a package that does not build, or whose main fails
			}
		case "skip":
			switch said := text(output[key]); {
			case e.Test == "":
			case os.Geteuid() != 0 && strings.Contains(said, "missing: root"):
				forRoot++
			default:
				skipped++
				fmt.Printf("SKIP  %s\n%s", key, said)
			}
		}
		delete(output, key)
	}
	for name := range running {
		fmt.Printf("FAIL  %s: its tests began and never ended\n", name)
		failed++
	}
	fmt.Printf("\ntests took %s\n%d passed, %d failed, %d skipped\n", time.Since(started).Round(time.Second), passed, failed, skipped)
	if forRoot > 0 {
		fmt.Printf("%d more need root and were left out\n", forRoot)
	}
	if failed > 0 || skipped > 0 || passed == 0 {
		os.Exit(1)
	}
}

func text(b *strings.Builder) string {
	if b == nil {
		return ""
	}
	return b.String()
}
