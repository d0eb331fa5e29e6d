package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// cluster is one running control plane; all it writes lies in dir.
type cluster struct {
	dir     string
	extra   extraArgs
	stages  string // kwok config file instead of the embedded one
	noKwok  bool
	ports   ports
	pki     *authority
	started time.Time
	procs   []*process
	died    chan error
}

// extraArgs holds more flags by component, so that
// `-arg kube-apiserver=--v=4` can be given many times.
type extraArgs map[string][]string

func (e extraArgs) String() string { return "" }

func (e extraArgs) Set(s string) error {
	name, arg, ok := strings.Cut(s, "=")
	if !ok {
		return errors.New("want COMPONENT=FLAG")
	}
	if _, known := components[name]; !known {
		return fmt.Errorf("no component %q", name)
	}
	e[name] = append(e[name], arg)
	return nil
}

// up is the subcommand: start everything, say so, wait for the end.
func up(args []string) error {
	c := &cluster{extra: extraArgs{}, died: make(chan error, 5), started: time.Now()}
	fs := flag.NewFlagSet("up", flag.ExitOnError)
	dir := fs.String("dir", "", "state folder (made anew)")
	timeout := fs.Duration("timeout", 2*time.Minute, "give up when not ready by then")
	fs.IntVar(&c.ports.apiserver, "port", 0, "API server port, 0 for a free one")
	fs.StringVar(&c.stages, "stages", "", "kwok config file with Stages instead of the built-in ones")
	fs.BoolVar(&c.noKwok, "no-kwok", false, "run no kwok")
	fs.Var(c.extra, "arg", "extra flag, as COMPONENT=FLAG; may be repeated")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *dir == "" {
		return errors.New("-dir is needed")
	}
	var err error
	if c.dir, err = filepath.Abs(*dir); err != nil {
		return err
	}

	// Pdeathsig fires when the THREAD that forked ends, not the process: keep
	// this one for good, or a live kubebox could lose its children.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	defer c.down()
	readyCtx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := c.up(readyCtx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before it was ready
		}
		return err
	}
	select {
	case err := <-c.died:
		return err
	case <-ctx.Done():
		return nil
	}
}

// up starts the components in the order in which they need each other and
// returns when a first pod could be made.
func (c *cluster) up(ctx context.Context) error {
	if err := os.MkdirAll(c.path("logs"), 0o755); err != nil {
		return err
	}
	if err := c.ports.fill(); err != nil {
		return fmt.Errorf("picking ports: %w", err)
	}
	if err := c.writeIdentities(); err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	if err := c.run("etcd", c.etcdArgs()); err != nil {
		return err
	}
	if err := c.run("kube-apiserver", c.apiserverArgs()); err != nil {
		return err
	}
	if err := c.waitHTTP(ctx, c.server()+"/readyz"); err != nil {
		return err
	}
	c.say("kube-apiserver ready")
	if err := c.runClients(); err != nil {
		return err
	}
	for _, url := range c.healthURLs() {
		if err := c.waitHTTP(ctx, url); err != nil {
			return err
		}
	}
	if err := c.waitServiceAccount(ctx); err != nil {
		return err
	}
	c.say("READY KUBECONFIG=%s", c.path("admin.kubeconfig"))
	return os.WriteFile(c.path("ready"), []byte(c.server()+"\n"), 0o644)
}

// runClients starts what talks to the API server.
func (c *cluster) runClients() error {
	if err := c.run("kube-controller-manager", c.controllerManagerArgs()); err != nil {
		return err
	}
	if err := c.run("kube-scheduler", c.schedulerArgs()); err != nil {
		return err
	}
	if c.noKwok {
		return nil
	}
	args, err := c.kwokArgs()
	if err != nil {
		return err
	}
	return c.run("kwok", args)
}

// down stops the components last first, as each needs the one before it to
// end cleanly.
func (c *cluster) down() {
	_ = os.Remove(c.path("ready"))
	for i := len(c.procs) - 1; i >= 0; i-- {
		c.procs[i].stop(3 * time.Second)
	}
	c.say("down")
}

func (c *cluster) path(p string) string { return filepath.Join(c.dir, p) }

func (c *cluster) server() string { return fmt.Sprintf("https://127.0.0.1:%d", c.ports.apiserver) }

func (c *cluster) say(format string, args ...any) {
	fmt.Printf("%6.2fs %s\n", time.Since(c.started).Seconds(), fmt.Sprintf(format, args...))
}
