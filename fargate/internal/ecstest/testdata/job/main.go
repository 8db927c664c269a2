// Command job is a container's program in tests: its arguments say what it does.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	fmt.Println("args", strings.Join(args, " "))
	mode := os.Getenv("JOB")
	switch {
	case strings.HasPrefix(mode, "exit "):
		fmt.Fprintln(os.Stderr, "on stderr")
		code, _ := strconv.Atoi(mode[5:])
		os.Exit(code)
	case strings.HasPrefix(mode, "lines "):
		n, _ := strconv.Atoi(mode[6:])
		for i := range n {
			fmt.Println("line", i)
		}
	case mode == "checkpoint": // stops in good order
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("working")
		<-stop
		fmt.Println("saved")
		os.Exit(130)
	case mode == "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("working")
		time.Sleep(time.Hour)
	case mode == "look":
		look()
	}
}

// look says who it is and where it can write.
func look() {
	fmt.Println("uid", os.Getuid(), "gid", os.Getgid(), "pid", os.Getpid())
	_ = filepath.WalkDir("/", func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		f, err := os.CreateTemp(path, "try-*")
		if err != nil {
			return nil
		}
		_ = f.Close()
		_ = os.Remove(f.Name())
		fmt.Println("writable", path)
		return nil
	})
}
