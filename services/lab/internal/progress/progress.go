// Package progress tells a person at a terminal what takes so long.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// every is how often a step that is still running says so.
const every = 15 * time.Second

// Out is where lines go; never standard output, which belongs to results.
var Out io.Writer = os.Stderr

var (
	mu      sync.Mutex
	started = time.Now()
)

// Say prints one line with the time since the program started.
func Say(format string, args ...any) {
	mu.Lock()
	defer mu.Unlock()
	fmt.Fprintf(Out, "%7.1fs  %s\n", time.Since(started).Seconds(), fmt.Sprintf(format, args...))
}

// Step runs fn between a first and a last line.
func Step(what string, fn func() error) error {
	Say("%s …", what)
	begin := time.Now()
	end := make(chan struct{})
	var lines sync.WaitGroup
	lines.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				Say("%s … %s so far", what, time.Since(begin).Round(time.Second))
			}
		}
	})
	err := fn()
	close(end)
	lines.Wait()
	if err != nil {
		Say("%s: not done after %s", what, time.Since(begin).Round(100*time.Millisecond))
		return err
	}
	Say("%s: done in %s", what, time.Since(begin).Round(100*time.Millisecond))
	return nil
}
