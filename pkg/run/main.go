package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Main is the whole of a main function: it calls fn with a context that ends at SIGINT or SIGTERM,
// prints fn's error and exits. A second signal exits at once.
//
// An error with a method ExitCode() int chooses the status; a status of 0 is not printed.
func Main(fn func(context.Context) error) {
	os.Exit(run(fn, os.Stderr))
}

func run(fn func(context.Context) error, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// Giving the signals back to the runtime is what makes the second one deadly.
	defer context.AfterFunc(ctx, stop)()
	return status(guard(ctx, fn), stderr)
}

func status(err error, stderr io.Writer) int {
	code := 0
	if err != nil {
		code = 1
		var coded interface{ ExitCode() int }
		if errors.As(err, &coded) {
			code = coded.ExitCode()
		}
	}
	if code != 0 {
		_, _ = fmt.Fprintln(stderr, "error:", err) // nowhere is left to report a broken stderr
	}
	return code
}
