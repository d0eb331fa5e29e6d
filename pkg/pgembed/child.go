package pgembed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// child is the postmaster process. err may be read once done is closed.
type child struct {
	process *os.Process
	done    chan struct{}
	err     error
}

// startPostmaster starts PostgreSQL so that it can't outlive us: the kernel sends it SIGINT, its
// word for a fast shutdown, when we die.
func startPostmaster(p place, port int, cfg Config) (*child, error) {
	log, err := p.openLog()
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// The operator chose the program; it outlives the context of the start on purpose.
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), postmasterArgs(p, port, cfg)...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = cleanEnv(), "/", log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: p.credential(),
		Pdeathsig:  syscall.SIGINT,
		Setpgid:    true, // else Ctrl-C in a terminal stops the database before its users
	}
	c := &child{done: make(chan struct{})}
	started := make(chan error)
	go c.live(cmd, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting the postmaster: %w", err)
	}
	return c, nil
}

// live starts the process and waits for its end, all on one locked thread: "parent" in the parent
// death signal means the thread that forked, and Go ends idle threads.
func (c *child) live(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	c.process = cmd.Process
	started <- nil
	if c.err = cmd.Wait(); c.err == nil {
		c.err = fmt.Errorf("%s", cmd.ProcessState)
	}
	close(c.done)
}

// stop asks ever more firmly: fast (clean), immediate (recovery at next start), kill.
func (c *child) stop() {
	steps := []struct {
		signal  syscall.Signal
		patient time.Duration
	}{{syscall.SIGINT, 15 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}}
	for _, step := range steps {
		if c.process.Signal(step.signal) != nil {
			break // it is gone
		}
		timer := time.NewTimer(step.patient)
		select {
		case <-c.done:
			timer.Stop()
			return
		case <-timer.C:
		}
	}
	<-c.done
}

func postmasterArgs(p place, port int, cfg Config) []string {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"port":                    strconv.Itoa(port),
		"unix_socket_directories": socketDir(p.data()),
		"unix_socket_permissions": "0700",
		"max_connections":         "200",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
	}
	if cfg.NoSync {
		settings["fsync"], settings["full_page_writes"], settings["synchronous_commit"] = "off", "off", "off"
	}
	for key, value := range cfg.Settings {
		settings[key] = value
	}
	args := []string{"-D", p.data()}
	for key, value := range settings {
		args = append(args, "-c"+key+"="+value)
	}
	slices.Sort(args[2:])
	return args
}

// socketDir is the data's directory, or none where the socket's path would not fit into a
// sockaddr_un; the server is always reached by TCP, so nothing is lost.
func socketDir(data string) string {
	const limit = 107
	if len(data)+len("/.s.PGSQL.65535.lock") > limit {
		return ""
	}
	return data
}
