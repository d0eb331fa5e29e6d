package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is one component running as a child.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// run starts this same binary as one of the components.
func (c *cluster) run(name string, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(c.path("logs/" + name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(self, append([]string{name}, append(args, c.extra[name]...)...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "HOME="+c.dir) // kwok reads ~/.kwok
	// An own process group, so that Ctrl-C reaches us alone and we stop them in
	// order. The kernel kills them when we die, however we die; os/exec closes
	// the gap between fork and prctl by checking that the parent still lives.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	c.procs = append(c.procs, p)
	c.say("started %s pid=%d", name, cmd.Process.Pid)
	go func() {
		err := cmd.Wait()
		close(p.done)
		c.died <- fmt.Errorf("%s ended (%v); see %s%s", name, err, log.Name(), lastWords(log.Name()))
	}()
	return os.WriteFile(c.path(name+".pid"), fmt.Appendln(nil, cmd.Process.Pid), 0o644)
}

func (p *process) stop(patience time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return
	case <-time.After(patience):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// ports are all on loopback; zero means not picked yet.
type ports struct {
	apiserver, etcd, etcdPeer, controllerManager, scheduler, kwok int
}

// Ports are taken from below those that the kernel gives to outgoing connections:
// the components connect to each other before the last of them listens.
const (
	firstPort = 20000
	portCount = 12000
	portTries = 50
)

// fill picks a free port for each that has none. It holds all of them open at
// once, so that they differ.
func (p *ports) fill() error {
	for _, port := range []*int{&p.apiserver, &p.etcd, &p.etcdPeer, &p.controllerManager, &p.scheduler, &p.kwok} {
		if *port != 0 {
			continue
		}
		l, err := listenBelow()
		if err != nil {
			return err
		}
		defer l.Close()
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// lastWords are the last lines of a component's log: whoever runs us shows ours.
func lastWords(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return "\n" + strings.Join(lines[max(0, len(lines)-8):], "\n")
}

func listenBelow() (l net.Listener, err error) {
	for range portTries {
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.N(portCount))); err == nil {
			return l, nil
		}
	}
	return nil, err
}
