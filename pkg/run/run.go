// Package run starts the parts of a server together and stops them together.
package run

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Grace is how long parts may take to stop once they were told to. It is shorter than the 30 s
// which Kubernetes gives a pod, so that what did not stop is still named in the log.
const Grace = 25 * time.Second

// Part is something that runs until its context ends. Returning nil means it is finished and does
// not disturb the others; returning an error stops them all.
type Part func(context.Context) error

// Named gives a part a name, which then leads its errors.
func Named(name string, part Part) Part {
	return func(ctx context.Context) error {
		if err := part(ctx); err != nil {
			return &partError{name: name, err: err}
		}
		return nil
	}
}

type partError struct {
	name string
	err  error
}

func (e *partError) Error() string { return e.name + ": " + e.err.Error() }
func (e *partError) Unwrap() error { return e.err }

// All runs the parts until all have finished. The first error or panic, or the end of ctx, cancels
// the rest, which then have Grace to stop. A stop asked for through ctx is not an error.
func All(ctx context.Context, parts ...Part) error {
	return all(ctx, Grace, parts)
}

func all(ctx context.Context, grace time.Duration, parts []Part) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	ended := &endings{errs: make([]error, len(parts)), over: make([]bool, len(parts))}
	var wait sync.WaitGroup
	for i, part := range parts {
		wait.Go(func() {
			err := guard(inner, part)
			if err != nil {
				cancel(err)
			}
			ended.note(i, err)
		})
	}
	done := make(chan struct{})
	go func() { wait.Wait(); close(done) }()

	select {
	case <-done:
	case <-inner.Done():
		awaitStop(done, grace)
	}
	return ended.verdict(inner, ctx.Err() != nil)
}

// awaitStop waits for done, but no longer than grace.
func awaitStop(done <-chan struct{}, grace time.Duration) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// guard turns a panic of the part into an error with the stack where it happened.
func guard(ctx context.Context, part Part) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return part(ctx)
}

// endings is how each part ended, if it did.
type endings struct {
	mu   sync.Mutex
	errs []error
	over []bool
}

func (e *endings) note(i int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.errs[i], e.over[i] = err, true
}

// verdict joins the cause of the stop with what went wrong while stopping, the cause first.
func (e *endings) verdict(inner context.Context, asked bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	cause := context.Cause(inner)
	var problems []error
	if cause != nil && !asked {
		problems = append(problems, cause)
	}
	var running []string
	for i, err := range e.errs {
		switch {
		case !e.over[i]:
			running = append(running, fmt.Sprintf("#%d", i+1))
		case err == nil, errors.Is(err, context.Canceled), !asked && errors.Is(cause, err):
		default:
			problems = append(problems, err)
		}
	}
	if len(running) > 0 {
		problems = append(problems, fmt.Errorf("parts still running after the time to stop: %s", strings.Join(running, ", ")))
	}
	return errors.Join(problems...)
}
