// Package proc runs child processes that cannot outlive this one.
package proc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Child is a running program.
type Child struct {
	Name string
	Log  string // where its output went, if into a file
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

type request struct {
	cmd   *exec.Cmd
	reply chan error
}

// starter is where every child is forked: the kernel sends Pdeathsig when the
// forking THREAD ends, so this one is locked to its goroutine and never ends
// before the process does.
var starter = sync.OnceValue(func() chan<- request {
	requests := make(chan request)
	go fork(requests)
	return requests
})

func fork(requests <-chan request) {
	runtime.LockOSThread()
	for r := range requests {
		r.reply <- r.cmd.Start()
	}
}

// Start runs the command. When this process ends, in whatever way, the kernel
// kills the child; should the child have children, it has to see to them by
// the same means.
func Start(name string, cmd *exec.Cmd) (*Child, error) {
	// An own process group keeps Ctrl-C for us: we stop the children in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	reply := make(chan error)
	starter() <- request{cmd, reply}
	if err := <-reply; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c := &Child{Name: name, cmd: cmd, done: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// StartLogged is Start with the output in a file.
func StartLogged(name, logFile string, cmd *exec.Cmd) (*Child, error) {
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	c, err := Start(name, cmd)
	if err != nil {
		return nil, err
	}
	c.Log = logFile
	return c, nil
}

// Run runs a build step until it ends, and shows its output only if it went wrong.
func Run(ctx context.Context, cmd *exec.Cmd) error {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	child, err := Start(filepath.Base(cmd.Path), cmd)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		child.Stop(2 * time.Second)
		return ctx.Err()
	case <-child.Done():
	}
	if err := child.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out.String())
	}
	return nil
}

// Done is closed when the child has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Ended says how, with the end of its log, which a test's folder does not outlive;
// only for a child that is Done.
func (c *Child) Ended() error {
	if c.err == nil {
		return fmt.Errorf("%s ended by itself; see %s%s", c.Name, c.Log, c.lastWords())
	}
	return fmt.Errorf("%s ended: %w; see %s%s", c.Name, c.err, c.Log, c.lastWords())
}

// lastWords are the last lines of the log, if there is one.
func (c *Child) lastWords() string {
	raw, err := os.ReadFile(c.Log)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return "\n" + strings.Join(lines[max(0, len(lines)-lastLines):], "\n")
}

const lastLines = 15

// Wait is exec.Cmd's Wait.
func (c *Child) Wait() error {
	<-c.done
	return c.err
}

// Stop asks the child to end and, when patience is at its end, makes it. The
// whole group gets the last signal, so that a compiler's helpers end too.
func (c *Child) Stop(patience time.Duration) {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(patience):
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		<-c.done
	}
}

// Kill ends the child alone, at once, as a crash would.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}
